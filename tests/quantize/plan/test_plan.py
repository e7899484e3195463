import json

import pytest

from edgeopt.errors import UserError
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Scheme, SmoothPlan, TensorPlan

PLAN = Plan(
    "x86-vnni",
    Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True),
    (NodePlan("a", "Conv", "int8", "int8", "because"), NodePlan("b", "Gemm", "int8", "float", "too")),
    (TensorPlan("x", "uint8", -1.5, 2.25, "mse"),),
    (Decision("ranges", "auto", "…"),),
    (SmoothPlan("x", 0.5, (1.0, 2.0)),),
)


def test_a_saved_plan_reads_back_equal():
    assert Plan.from_json(PLAN.to_json(), where="file") == PLAN


def test_nodes_can_be_taken_out():
    plan = PLAN.with_floats({"a"}, "asked for")
    assert [node.name for node in plan.integer_nodes] == ["b"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1}', '{"version": 1, "target": 3}'])
def test_what_is_no_plan_is_refused_in_one_line(text):
    with pytest.raises(UserError, match="plan") as caught:
        Plan.from_json(text, where="some.json")
    assert "\n" not in str(caught.value)


def test_an_unknown_key_is_refused():
    values = json.loads(PLAN.to_json())
    values["nodes"][0]["colour"] = "red"
    with pytest.raises(UserError, match="colour"):
        Plan.from_json(json.dumps(values), where="some.json")
