import json
from dataclasses import replace

import pytest

from edgeopt.errors import UserError
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Scheme, SmoothPlan, TensorPlan, load_plan

PLAN = Plan(
    "x86-vnni",
    Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True),
    (NodePlan("a", "Conv", "int8", "int8", Cause.WEIGHTS), NodePlan("b", "Gemm", "int8", "float", Cause.WEIGHTS)),
    (TensorPlan("x", "uint8", -1.5, 2.25, "mse"),),
    (Decision("ranges", "auto", "…"),),
    (SmoothPlan("x", 0.5, (1.0, 2.0)),),
)


def test_a_saved_plan_reads_back_equal():
    assert Plan.from_json(PLAN.to_json(), where="file") == PLAN


class Basis:
    """Leaves the named nodes in floating point, and derives nothing else."""

    def derived(self, plan, floating):
        nodes = [
            replace(node, precision="float", cause=floating[node.name].cause) if node.name in floating else node
            for node in plan.nodes
        ]
        return replace(plan, nodes=tuple(nodes))


def test_nodes_can_be_taken_out_and_stay_out():
    plan = PLAN.without({"a"}, Cause.EXCLUDED, basis=Basis())
    assert [node.name for node in plan.integer_nodes] == ["b"]
    none = plan.without({"a", "b"}, Cause.ACCURACY, basis=Basis())
    assert {node.name: node.cause for node in none.nodes} == {"a": Cause.EXCLUDED, "b": Cause.ACCURACY}


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


VERSION_1 = {
    "version": 1,
    "target": "x86-vnni",
    "scheme": {
        "activation": "uint8",
        "weight": "int8",
        "per_channel": True,
        "symmetric_activation": False,
        "symmetric_weight": True,
    },
    "nodes": [
        {"name": "c", "op": "Conv", "precision": "int8", "output": "int8", "reduce_range": True, "reads": []}
        | {"reason": "multiplies by constant weights; 7-bit weights, since sums of two products can saturate"},
        {"name": "r", "op": "Relu", "precision": "int8", "output": "int8", "reason": "between integer nodes"},
        {"name": "s", "op": "Add", "precision": "float", "output": "float", "reason": "my own words"},
    ],
    "tensors": [
        {"name": "a", "dtype": "uint8", "low": 0, "high": 2.5, "method": "as b"},
        {"name": "b", "dtype": "uint8", "low": 0.0, "high": 2.5, "method": "as d"},
        {"name": "d", "dtype": "uint8", "low": 0.0, "high": 2.5, "method": "percentile"},
    ],
    "decisions": [{"what": "ranges", "choice": "percentile", "reason": "…"}],
    "smoothing": [],
}


def test_a_plan_of_version_1_is_read_and_written_as_version_2():
    plan = Plan.from_json(json.dumps(VERSION_1), where="old.json")
    assert [(node.cause, node.detail, node.reduce_range) for node in plan.nodes] == [
        (Cause.WEIGHTS, "", True), (Cause.BETWEEN, "", False), (Cause.SAID, "my own words", False)
    ]  # fmt: skip
    assert [node.reason for node in plan.nodes] == [node["reason"] for node in VERSION_1["nodes"]]
    assert [(tensor.method, tensor.follows) for tensor in plan.tensors] == [
        ("percentile", "b"), ("percentile", "d"), ("percentile", None)
    ]  # fmt: skip
    again = json.loads(plan.to_json())
    assert again["version"] == 2
    assert Plan.from_json(json.dumps(again), where="new.json") == plan


def test_the_words_of_a_saved_reason_mean_nothing():
    values = json.loads(PLAN.to_json())
    assert [node["reason"] for node in values["nodes"]] == ["multiplies by constant weights"] * 2
    values["nodes"][0]["reason"] = "excluded"
    assert Plan.from_json(json.dumps(values), where="some.json") == PLAN
    del values["nodes"][0]["reason"]
    assert Plan.from_json(json.dumps(values), where="some.json") == PLAN


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: plan["nodes"].append(plan["nodes"][0]), "'a' twice"),
        (lambda plan: plan["tensors"].append(plan["tensors"][0]), "'x' twice"),
        (lambda plan: plan["tensors"][0].update(low=3.0), "ends below its beginning"),
        (lambda plan: plan["tensors"][0].update(low=float("nan")), "tensors.0.low"),
        (lambda plan: plan["tensors"][0].update(high="2"), "tensors.0.high"),
        (lambda plan: plan["tensors"][0].update(dtype="int32"), "tensors.0.dtype"),
        (lambda plan: plan["nodes"][0].update(cause="because"), "nodes.0.cause"),
        (lambda plan: plan["nodes"][0].update(name=["a"]), "nodes.0.name"),
        (lambda plan: plan["nodes"].append(7), "nodes.2"),
        (lambda plan: plan.update(nodes={}), "nodes"),
        (lambda plan: plan["smoothing"][0].update(factors=[1.0, -1.0]), "not positive"),
        (lambda plan: plan.update(equalization=[{"name": "n", "first": [1.0], "second": [0.0]}]), "not positive"),
        (lambda plan: plan.update(version=True), "version True"),
        (lambda plan: plan.update(version=[2]), "version"),
        (lambda plan: plan.update(target="\ud800"), "wrong or missing key"),
    ],
)
def test_a_crafted_plan_is_refused_in_one_line(change, said):
    values = json.loads(PLAN.to_json())
    change(values)
    with pytest.raises(UserError) as caught:
        Plan.from_json(json.dumps(values), where="some.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 100_000, b'{"version": ' + b"9" * 5000 + b"}"])
def test_a_file_that_is_no_text_or_too_deep_is_refused_in_one_line(tmp_path, data):
    (tmp_path / "plan.json").write_bytes(data)
    with pytest.raises(UserError) as caught:
        load_plan(tmp_path / "plan.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        load_plan(tmp_path)
