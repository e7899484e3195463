"""Operators that ran: their time, their share, their distance from the peak, with a planted reply."""

from __future__ import annotations

import pytest

from edgeopt.profile.operators import hidden, read_operators
from edgeopt.profile.peak import Bandwidth, Peak
from edgeopt.targets.replies import OperatorRow, Operators

PEAK = Peak({"fp32": 100e9, "int8": 400e9}, [Bandwidth(1000, 10e9), Bandwidth(10_000, 1e9)])
NODE = OperatorRow("n", "MatMul", [("float", [10, 100])], [("float", [10, 500])], 500, "P", calls=0.5, us=10.0)


def ran(*rows: OperatorRow, memory: list[tuple[str, str, float, int]] | None = None) -> Operators:
    return Operators(1, list(rows), None, memory)


def test_a_node_that_ran_with_several_shapes_is_their_mean() -> None:
    insight = read_operators(ran(NODE, NODE), PEAK)
    [operator] = insight.operators
    assert operator.macs == 500_000 and operator.ms == pytest.approx(0.02) and operator.bound_ms == pytest.approx(0.01)
    assert insight.floor_ms == pytest.approx(0.01)


def test_operators_are_sorted_by_time_and_conversions_add_up() -> None:
    four = [("float", [4])]
    rows = [
        OperatorRow(name, op, four, four, 8, "P", calls=1, us=us)
        for name, op, us in (("q", "QuantizeLinear", 25.0), ("r", "Relu", 75.0))
    ]
    insight = read_operators(ran(*rows, memory=[("r", "Relu", 40.0, 512)]), None)
    assert [(it.name, round(it.share, 9)) for it in insight.operators] == [("r", 0.75), ("q", 0.25)]
    assert (round(insight.conversion_share, 9), insight.floor_ms, insight.macs, insight.int8_macs_share) == (
        0.25,
        None,
        None,
        None,
    )
    [point] = insight.held
    assert (point.at_ms, point.label, point.bytes) == (0.04, "r", 512)


def test_without_operators_nothing_is_divided_by_their_sum() -> None:
    insight = read_operators(ran(), PEAK)
    assert (insight.operators, insight.conversion_share, insight.floor_ms) == ([], 0.0, None)


def test_macs_come_from_the_model_where_a_compiled_graph_hides_its_nodes() -> None:
    insight = read_operators(ran(NODE, NODE), None)
    assert hidden(insight, {"n": 900_000}, 0.5) is insight
    found = hidden(insight, {"n": 500_000, "m": 9_000_000}, 0.5)
    assert (found.macs, found.int8_macs_share) == (9_500_000, 0.5)
