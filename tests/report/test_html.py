"""The page: complete, the same every time, without network, and safe against names from others."""

import json
import re

import pytest

from edgeopt.report import RunRecord, build_report, to_html
from tests.report.conftest import Page, own_part


def test_the_page_needs_no_network(report):
    page = to_html(report)
    parsed = Page(own_part(page))
    assert parsed.links == []
    assert not re.search(r"@import|url\(", own_part(page))
    assert "default-src 'none'" in page
    assert page.count("Plotly.react") == 1
    assert 4_000_000 < len(page) < 8_000_000


def test_the_page_says_the_verdict_first_and_every_figure_with_its_unit(report):
    page = to_html(report)
    body = page[page.index("<body>") :]
    assert body.index("✓ Pass") < body.index("int8 is 2.39× as fast") < body.index("The model, step by step")
    for text in ("98.3 %", "84.3 kB", "0.0612 ms", "1 thread", "CPUExecutionProvider", "360 samples", "Synthetic CPU", "5f5f"):
        assert text in body, text
    for figure in ("trade-off", "latency", "operators", "noise", "training"):
        assert f'id="plot-{figure}"' in body


def test_the_plots_are_json_that_plotly_can_read(report):
    page = to_html(report)
    text = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)[1]
    figures = {figure["id"]: figure for figure in json.loads(text)}
    assert [trace["name"] for trace in figures["trade-off"]["data"]] == ["teacher", "distill", "fp32", "int8"]
    ridges = [trace for trace in figures["latency"]["data"] if trace["mode"] == "lines"]
    assert [trace["name"] for trace in ridges] == ["int8", "fp32", "distill", "teacher"]
    assert max(ridges[1]["y"]) == pytest.approx(1.8)
    medians = [trace["x"] for trace in figures["latency"]["data"] if trace.get("marker", {}).get("symbol") == "circle"]
    assert medians == [[0.0612], [0.146], [0.291], [1.21]]
    assert len(figures["noise"]["data"][0]["y"]) == 24
    assert figures["noise"]["data"][0]["marker"]["color"][17] == "#ef4444"
    fp32 = next(trace for trace in figures["operators"]["data"] if trace["name"] == "fp32")
    assert fp32["x"][fp32["y"].index("Conv")] == pytest.approx(0.146 * 0.55)


def test_the_same_record_gives_the_same_bytes(facts, make_record):
    pages = {to_html(build_report(RunRecord.from_json(make_record(facts).to_json()))) for _ in range(2)}
    pages.add(to_html(build_report(make_record(facts))))
    assert len(pages) == 1


def test_hostile_names_stay_text_on_the_page(report, evil):
    page = own_part(to_html(evil))
    parsed = Page(page)
    assert parsed.handlers == []
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == Page(own_part(to_html(report))).tags.count("script")
    figures = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in figures
    assert "<script" not in "".join(_texts(json.loads(figures)))


def _texts(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value.replace("<b>", "").replace("<br>", "").replace("</b>", "").replace("<extra>", "").replace("</extra>", "")
