import math

import pytest

from edgeopt.report import build_report
from edgeopt.report.figures import all_figures, layer_noise, operator_times, trade_off


def test_without_latency_accuracy_stands_against_size(facts, make_record):
    del facts["profile"]
    figure = trade_off(build_report(make_record(facts)))
    assert figure.layout["xaxis"]["title"]["text"] == "size (bytes)"
    assert [trace["x"] for trace in figure.traces] == [[2_812_000], [521_000], [262_000], [268_500], [84_300]]


def test_operators_beyond_the_twelve_slowest_are_summed(facts, make_record):
    one = facts["profile"]["variants"][1]["operators"][0]
    many = [{**one, "name": f"n{k}", "op": f"Op{k:02}", "ms": 1.0 / (k + 1), "share": 0.01} for k in range(20)]
    facts["profile"]["variants"][1]["operators"] = many
    facts["profile"]["variants"][0]["operators"] = []
    (trace,) = operator_times(build_report(make_record(facts))).traces
    assert trace["y"][0] == "8 others"
    assert trace["y"][-1] == "Op00"
    assert trace["x"][0] == pytest.approx(sum(1.0 / (k + 1) for k in range(12, 20)))
    assert sum(trace["x"]) == pytest.approx(sum(item["ms"] for item in many))


def test_noise_is_capped_and_says_so(facts, make_record):
    facts["quantize"]["layers"][0]["sqnr_db"] = 150.0
    facts["quantize"]["layers"][1]["sqnr_db"] = -3.0
    figure = layer_noise(build_report(make_record(facts)))
    assert figure.traces[0]["y"][:2] == [80.0, 0.0]
    assert "1 above 80 dB are drawn at 80" in figure.caption
    assert figure.traces[0]["customdata"][1][2] == "-3.00"


def test_equal_or_zero_samples_make_no_broken_axis(facts, make_record):
    for variant in facts["profile"]["variants"]:
        variant["samples_ms"] = [0.0, 0.0, 0.0]
        variant["latency"] = [{"statistic": "p50", "value_ms": 0.0, "low_ms": 0.0, "high_ms": 0.0, "confidence": 0.95}]
    facts["teacher"]["history"] = [{"epoch": 1, "loss": 0.0, "accuracy": 0.5}]
    for figure in all_figures(build_report(make_record(facts))):
        for axis in (value for key, value in figure.layout.items() if key.startswith(("xaxis", "yaxis"))):
            assert all(math.isfinite(bound) for bound in axis.get("range", ()))


def test_the_metric_of_the_task_is_plotted_in_its_own_unit(facts, make_record):
    facts["verify"] |= {"metric": "Spearman", "scale": "coefficient"}
    evaluations = [{"step": step, "metric": "Spearman", "value": value} for step, value in ((240, 0.7), (480, 0.8))]
    facts["distill"] |= {"evaluations": evaluations, "history": [{"epoch": 1 + n, "loss": 1.0} for n in range(12)]}
    figures = {figure.id: figure for figure in all_figures(build_report(make_record(facts)))}
    assert figures["trade-off"].title == "Spearman and latency of each step"
    assert figures["trade-off"].layout["yaxis"]["title"]["text"] == "Spearman"
    assert figures["trade-off"].traces[-1]["y"] == [pytest.approx(0.9833)]
    assert figures["training"].layout["yaxis2"]["title"]["text"] == "Spearman"
    curve = next(trace for trace in figures["training"].traces if trace["yaxis"] == "y2" and trace["name"] == "distill")
    assert (curve["x"], curve["y"]) == ([6, 12], [0.7, 0.8])
    assert "(teacher 6 epochs, distill 12 epochs, prune 8 epochs)" in figures["training"].caption
