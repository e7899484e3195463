"""A plan on the terminal, and as JSON that --plan reads."""

from __future__ import annotations

import json

import pytest

from edgeopt.cli.plan_tables import show_layers, show_plan
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Scheme
from edgeopt.quantize.result import LayerNoise


@pytest.fixture
def plan() -> Plan:
    nodes = (
        NodePlan("a", "Conv", "int8", "int8", Cause.WEIGHTS, reduce_range=True),
        NodePlan("b", "Exp", "float", "float", Cause.NOT_WORTH, "Exp"),
    )
    return Plan("x86-avx2", Scheme("uint8", "int8", True, False, True), nodes, (), (Decision("ranges", "auto", "least error"),))


def test_decisions_and_nodes_are_rows(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = plan.nodes
    show_plan(plan, "markdown")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines() if line]
    assert ["ranges", "auto", "least error"] in rows
    assert ["a", "Conv", "int8", "int8", "7 bits", nodes[0].reason] in rows
    assert ["b", "Exp", "float", "float", "", "Exp has no integer kernel worth its roundings"] in rows


def test_as_json_it_is_the_plan_itself(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(plan, "json")
    text = capsys.readouterr().out
    assert Plan.from_json(text, where="stdout") == plan
    assert json.loads(text)["nodes"][1]["cause"] == "not-worth"


def test_the_effect_of_a_layer_has_units(capsys: pytest.CaptureFixture[str]) -> None:
    show_layers([LayerNoise("a", "Conv", 12.345, 0.0123), LayerNoise("b", "Gemm", 40.0)], "json")
    first, second = json.loads(capsys.readouterr().out)
    assert (first["SQNR of the outputs"], first["metric drop"]) == ("12.3 dB", "1.23 points")
    assert second["metric drop"] == ""
