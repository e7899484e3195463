"""HTML, JSON, Markdown and terminal: complete, the same every time, and safe against names that strangers chose."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeopt.errors import DataError
from edgeopt.report import RunRecord, build_report, from_json, terminal_summary, to_html, to_json, to_markdown, write_report
from edgeopt.roles import Role

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`|\n# x [y](javascript:z)\x1b[31m"


class Page(HTMLParser):
    """Counts what matters: elements, script bodies, attributes that act."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.handlers, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.links += [value for name, value in attributes if name in {"src", "href", "action", "data"}]


def evil_everywhere(value):
    """Replace every text in the facts by hostile ones, keeping those that are read as keywords."""
    keep = {
        "pass",
        "fail",
        "faster",
        "slower",
        *Role,
        "fp32",
        "int8",
        "teacher",
        "distill",
        "prune",
        "p50",
        "p90",
        "p95",
        "p99.9",
    }
    if isinstance(value, dict):
        return {key: evil_everywhere(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil_everywhere(item) for item in value]
    return EVIL if isinstance(value, str) and value not in keep else value


@pytest.fixture
def report(facts, make_record):
    return build_report(make_record(facts))


@pytest.fixture
def evil(facts, make_record):
    hostile = evil_everywhere(facts)
    hostile["verify"]["variants"][1]["name"] = EVIL
    hostile["profile"]["variants"][3]["name"] = EVIL
    record = make_record(hostile, name=EVIL, target=EVIL, recipe={EVIL: EVIL}, versions={EVIL: EVIL}, device={EVIL: EVIL})
    return build_report(record)


def own_part(page):
    """The page without plotly's source."""
    start, end = page.index("<script>"), page.index('<script type="application/json"')
    return page[:start] + page[end:]


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


def test_hostile_names_stay_text_in_markdown_and_on_the_terminal(evil):
    text = to_markdown(evil)
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\[y\]\(", text)
    assert "\x1b" not in text
    assert "\x1b" not in terminal_summary(evil)
    assert "\n# x" not in text


def test_json_reads_back_as_the_same_report(report):
    text = to_json(report)
    assert from_json(text) == report
    assert to_json(from_json(text)) == text
    assert json.loads(text)["schema_version"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("verdict"), "verdict: Field required"),
        (lambda values: values.update(schema_version=9), "schema version 9; this edgeopt reads 1"),
        (lambda values: values.update(variants=3), "variants"),
    ],
)
def test_json_that_is_no_report_is_refused_in_one_line(report, change, message):
    values = json.loads(to_json(report))
    change(values)
    with pytest.raises(DataError, match=message) as caught:
        from_json(json.dumps(values), where="old.json")
    assert str(caught.value).startswith("old.json: ")
    assert "\n" not in str(caught.value)


def test_a_run_record_reads_back_and_names_what_is_wrong(facts, make_record):
    record = make_record(facts)
    again = RunRecord.from_json(record.to_json())
    assert again.to_json() == record.to_json()
    with pytest.raises(DataError, match=r"run\.json: not a run record: stages\.0\.status"):
        RunRecord.from_json(record.to_json().replace('"status": "cached"', '"status": "maybe"'), where="run.json")


def test_markdown_is_a_document_with_tables(report):
    text = to_markdown(report)
    assert text.startswith("# quickstart on x86-vnni: ✅ pass\n\n**int8 is 2.39× as fast")
    row = next(line for line in text.splitlines() if line.startswith("| int8 "))
    assert row.count(" | ") == 10
    assert r"98.3 % \[96.9, 98.9\]" in row


def test_rows_that_are_one_model_in_two_forms_are_explained(report):
    said = "fp32 is prune exported to ONNX; latencies of teacher and distill are also those of their exports."
    assert all(said in " ".join(text.split()) for text in (to_html(report), to_markdown(report), terminal_summary(report)))


def test_the_terminal_gets_verdict_and_table_within_its_width(report):
    text = terminal_summary(report, width=120)
    assert text.startswith("PASS  int8 is 2.39× as fast")
    assert max(map(len, text.splitlines())) <= 120
    assert "\x1b[" in terminal_summary(report, colour=True)
    assert "\x1b" not in text


def test_writing_makes_three_files(report, tmp_path):
    page, data, text = write_report(report, tmp_path / "run")
    assert page.read_text(encoding="utf-8") == to_html(report)
    assert data.read_text(encoding="utf-8") == to_json(report)
    assert text.read_text(encoding="utf-8") == to_markdown(report)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.html", "report.json", "report.md"]


def test_building_and_reading_a_report_loads_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys; from edgeopt.report import RunRecord, build_report, to_html, terminal_summary;"
        "r = build_report(RunRecord('a', {}, 't', ())); to_html(r); terminal_summary(r);"
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), junk=JSON)
def test_any_value_anywhere_in_the_facts_gives_a_report_or_names_the_key(facts, make_record, data, junk):
    holder, key = facts, data.draw(st.sampled_from(sorted(facts)))
    while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
    before, holder[key] = holder[key], junk
    try:
        if holder is facts and not isinstance(junk, dict):
            return
        report = build_report(make_record(facts))
        assert from_json(to_json(report)).name == report.name
        assert Page(own_part(to_html(report))).handlers == []
    except DataError as error:
        assert str(error).startswith("facts of ")
    finally:
        holder[key] = before


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40) | JSON.map(json.dumps))
def test_any_text_that_is_no_report_is_refused_in_one_line(text):
    with pytest.raises(DataError) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)
