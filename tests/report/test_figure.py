"""Parts of plots: labels, colours, axes, error bars."""

import pytest

from edgeopt.report import build_report
from edgeopt.report.figure import bars, colour, conditions, faint, label, log_axis
from edgeopt.report.figures import trade_off


def test_a_log_axis_has_ticks_at_1_2_5(facts, make_record):
    axis = trade_off(build_report(make_record(facts))).layout["xaxis"]
    assert axis["ticktext"] == ["0.05", "0.1", "0.2", "0.5", "1", "2"]
    assert 10 ** axis["range"][0] == pytest.approx(0.7 * 0.0612)


def test_labels_are_cut_in_the_middle_and_hold_no_markup():
    assert label("int8") == "int8"
    assert label('<b onclick="x">') == '&lt;b onclick="x"&gt;'
    long = "/encoder/layer.0/attention/self/query/MatMul_quant"
    assert len(label(long)) == 32
    assert label(long).startswith("/encoder/layer.") and label(long).endswith("MatMul_quant")


def test_a_log_axis_goes_from_end_to_end():
    axis = log_axis(3, 70)
    assert axis["tickvals"] == [5, 10, 20, 50] and axis["ticktext"] == ["5", "10", "20", "50"]
    assert axis["range"] == pytest.approx([0.4771213, 1.845098])


def test_error_bars_are_lengths_and_missing_bounds_have_none():
    assert bars(2.0, None, 3.0, "#000000") == {"visible": False}
    shown = bars(2.0, 1.5, 3.0, "#000000")
    assert (shown["array"], shown["arrayminus"]) == ([1.0], [0.5])
    assert bars(2.0, 2.5, 3.0, "#000000")["arrayminus"] == [0.0]


def test_a_variant_keeps_its_colour(report):
    assert colour("int8", report) == "#10b981"
    assert colour("unknown", report) == "#6366f1"
    assert faint("#10b981") == (16, 185, 129, 0.55)


def test_conditions_name_provider_and_threads(report):
    assert conditions(report) == "CPUExecutionProvider, 1 thread"
