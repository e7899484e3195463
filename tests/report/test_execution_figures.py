"""Roofline, modules, coverage, placement, memory: planted figures must come out where they belong."""

import pytest

from edgeopt.report import build_report, to_html, to_markdown
from edgeopt.report.execution_figures import coverage, memory, module_times, placement
from edgeopt.report.figures import all_figures, layer_sensitivity
from edgeopt.report.limits import roofline, worth_rows
from edgeopt.report.timing import latency_distribution, latency_over_time, ratios

PEAK = {
    "operations_per_s": {"fp32": 1e11, "int8": 4e11},
    "bandwidth": [{"working_set_bytes": 1000, "bytes_per_s": 1e11}, {"working_set_bytes": 10**9, "bytes_per_s": 1e10}],
}


def operator(name, ms, **more):
    return {"name": name, "op": "QLinearConv", "provider": "CPUExecutionProvider", "ms": ms, "share": ms / 4, **more}


@pytest.fixture
def profiled(facts):
    profile = facts["profile"]
    profile["peak"] = PEAK
    for variant in profile["variants"]:
        variant["operators"] = [
            operator("/a/heavy", 3.0, macs=10**8, bytes=10**6, kind="int8", bound_ms=0.5),
            operator("/a/light", 0.9, macs=10**6, bytes=10**6, kind="fp32", bound_ms=0.1),
            operator("/b/move", 0.1, macs=0, bytes=10**6, kind=None, bound_ms=0.1),
        ]
        variant["modules"] = [
            {"name": "a", "ms": 3.9, "own_ms": 3.9, "share": 0.975},
            {"name": "b", "ms": 0.1, "own_ms": 0.1, "share": 0.025},
        ]
        variant["memory_timeline"] = [
            {"scope": "process", "index": 0, "at_ms": 0.0, "label": "before load", "op": None, "bytes": 50_000_000},
            {"scope": "arena", "index": 0, "at_ms": 0.0, "label": "/a/heavy", "op": "QLinearConv", "bytes": 2_000_000},
            {"scope": "arena", "index": 1, "at_ms": 1.0, "label": "/a/light", "op": "QLinearConv", "bytes": 5_000_000},
        ]
        variant["placement"] = {
            "nodes": {"QNNExecutionProvider": 5, "CPUExecutionProvider": 1},
            "partitions": 3,
            "cpu_fallback_share": 0.2,
            "breaks": ["/x (Resize)"],
            "stretches": [
                {"provider": "QNNExecutionProvider", "nodes": 2, "first": "/w (Conv)"},
                {"provider": "CPUExecutionProvider", "nodes": 1, "first": "/x (Resize)"},
                {"provider": "QNNExecutionProvider", "nodes": 3, "first": "/y (Conv)"},
            ],
        }
    return facts


def test_the_roofline_places_an_operator_by_its_intensity_and_rate(profiled, make_record):
    figure = roofline(build_report(make_record(profiled)))
    circles = next(trace for trace in figure.traces if trace["name"] == "int8")
    assert circles["x"] == pytest.approx([200.0, 2.0])  # operations a byte; what multiplies nothing is not drawn
    assert circles["y"] == pytest.approx([2 * 1e8 / 3e-3 / 1e9, 2 * 1e6 / 0.9e-3 / 1e9])
    flat = next(trace for trace in figure.traces if trace["name"].startswith("int8:"))
    assert flat["y"][1:] == pytest.approx([400.0, 400.0])
    assert flat["y"][0] == pytest.approx(flat["x"][0] * 100)  # the slope is the bandwidth


def test_without_a_measured_peak_there_is_no_roof(profiled, make_record):
    del profiled["profile"]["peak"]
    assert roofline(build_report(make_record(profiled))) is None


def test_what_is_worth_a_change_is_what_could_be_saved(profiled, make_record):
    rows = worth_rows(build_report(make_record(profiled)))
    assert [row[1] for row in rows] == ["/a/heavy (QLinearConv)", "/a/light (QLinearConv)"]
    assert [row[5] for row in rows] == ["2.50 ms", "0.800 ms"]
    assert [row[7] for row in rows] == ["arithmetic", "memory"]
    assert "## Worth a change" in to_markdown(build_report(make_record(profiled)))


def test_modules_and_node_names_stand_in_for_each_other(profiled, make_record):
    figure = module_times(build_report(make_record(profiled)))
    assert [row[0] for row in figure.rows] == ["a", "b"]
    for variant in profiled["profile"]["variants"]:
        variant["modules"] = []
    figure = module_times(build_report(make_record(profiled)))
    assert [(row[0], row[1]) for row in figure.rows] == [("a", "3.90 ms"), ("b", "0.100 ms")]


def test_coverage_counts_macs_and_says_why_not(profiled, make_record):
    profiled["quantize"]["coverage"]["islands"] = [{"node": "/a/light", "op": "Conv", "reason": "SQNR too low"}]
    figure = coverage(build_report(make_record(profiled)))
    assert "99.0 % in int8, 1.0 % in fp32" in figure.caption
    assert figure.rows[1][-2:] == ("fp32", "SQNR too low")


def test_the_strip_shows_every_stretch_at_its_place(profiled, make_record):
    figure = placement(build_report(make_record(profiled)))
    cpu = next(trace for trace in figure.traces if trace["name"] == "CPUExecutionProvider")
    assert (cpu["base"][0], cpu["x"][0]) == (2, 1)
    assert "first at /x (Resize)" in figure.caption
    for variant in profiled["profile"]["variants"]:
        variant["placement"]["stretches"] = variant["placement"]["stretches"][:1]
    assert placement(build_report(make_record(profiled))) is None


def test_memory_names_the_operator_at_the_peak(profiled, make_record):
    figure = memory(build_report(make_record(profiled)))
    assert "int8 5.00 MB at /a/light (QLinearConv)" in figure.caption
    assert ("int8", "before load", "50.0 MB") in figure.rows


def test_withheld_percentiles_are_said(profiled, make_record):
    figure = latency_distribution(build_report(make_record(profiled)))
    assert "p99.9 of teacher, distill, fp32, int8 (needs 6,636 runs)" in figure.caption
    assert figure.head == ("model", "p50", "p90", "p95", "p99")


def test_ratios_carry_their_interval_and_decision(profiled, make_record):
    figure = ratios(build_report(make_record(profiled)))
    assert ("int8", "2.39× [2.35, 2.42]", "faster") in figure.rows


def test_runs_over_time_are_shares_of_their_median(profiled, make_record):
    profiled["profile"]["variants"][0]["samples_ms"] = [1.0, 2.0, 4.0]
    figure = latency_over_time(build_report(make_record(profiled)))
    fp32 = next(trace for trace in figure.traces if trace["name"] == "fp32")
    assert fp32["y"] == [0.5, 1.0, 2.0]


def test_sensitivity_is_drawn_where_it_was_measured(profiled, make_record):
    assert layer_sensitivity(build_report(make_record(profiled))) is None
    profiled["quantize"]["sensitivity"] = [{"name": "/head", "op": "Gemm", "sqnr_db": 12.0}]
    assert layer_sensitivity(build_report(make_record(profiled))).rows == [("/head", "Gemm", "12.0 dB", "", "")]


def test_a_lone_profile_makes_a_page_with_its_own_baseline(profiled, make_record):
    profile = profiled["profile"]
    profile["variants"] = [dict(profile["variants"][0], name="old"), dict(profile["variants"][1], name="<b>new</b>")]
    pair = {"a": "old", "b": "<b>new</b>", "ratio": 0.5, "low": 0.4, "high": 0.6, "confidence": 0.95, "rounds": 60}
    pair["decision"] = "faster"
    profile["comparisons"], profile["budgets"] = [pair], []
    report = build_report(make_record({"profile": profile}))
    assert report.baseline == "old"
    assert report.variant("<b>new</b>").speed.speedup.value == 2.0
    assert report.verdict.sentence.startswith("Nothing was judged")
    assert "old 0.146 ms" in report.verdict.sentence
    page = to_html(report)
    assert "Speed relative to old" in page
    assert "<b>new</b>" not in page


def test_no_plot_stands_alone_beside_a_hole(profiled, make_record):
    assert sum(not figure.wide for figure in all_figures(build_report(make_record(profiled)))) % 2 == 0
