"""16-bit activations: the fewest that reach the goal, where all around take them."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.search.wide import widen, widen_layers
from edgeopt.targets.target import load_target
from tests.quantize.conftest import conv_net


@pytest.fixture(scope="module")
def made():
    generator = np.random.default_rng(1)
    batches = [{"x": generator.standard_normal((2, 3, 16, 16), dtype=np.float32)} for _ in range(3)]
    target = load_target("qnn-htp-emulated")
    prepared = prepare(ir.from_proto(conv_net()), "net")
    plan = draft_plan(prepared, batches, target, QuantizeConfig(wide_db=None)).plan
    return prepared.model, plan, batches, target.quantization.rules


def wide_ones(plan):
    return {tensor.name for tensor in plan.tensors if tensor.dtype.endswith("16")}


def test_a_goal_that_is_met_widens_nothing(made):
    model, plan, batches, rules = made
    found = widen(model, plan, batches, rules, goal_db=1.0, threads=1)
    assert not wide_ones(found)
    assert found.decisions[-1].choice.startswith("0 of ")


def test_a_higher_goal_takes_more_and_is_reached(made):
    model, plan, batches, rules = made
    some, more = (widen(model, plan, batches, rules, goal_db=goal, threads=1) for goal in (36.0, 60.0))
    assert len(wide_ones(some)) <= len(wide_ones(more)) and wide_ones(more)
    assert "dB are wanted (wide_db)" in more.decisions[-1].reason


def test_the_tensors_around_a_layer_are_widened(made):
    model, plan, _, rules = made
    node = next(node for node in model.graph if node.op_type == "Conv")
    assert wide_ones(widen_layers(model, plan, [node.name], rules)) >= {node.inputs[0].name}


def test_operators_that_do_not_take_16_bits_keep_8(made):
    model, plan, batches, rules = made
    narrow = rules.model_copy(update={"wide": []})
    assert not wide_ones(widen(model, plan, batches, narrow, goal_db=60.0, threads=1))


def test_all_tensors_with_the_same_values_are_widened_together_or_not_at_all():
    text = """<ir_version: 10, opset_import: ["" : 21]>
    net (float[n, 8] x) => (float[n, 8] y, float[n, 8] z) {
        a = Add (x, x)
        r = Reshape (a, shape)
        t = Transpose <perm = [0, 2, 1]> (r)
        s = Reshape (t, flat)
        y = MatMul (s, w)
        z = Erf (x)
    }"""
    proto = onnx.parser.parse_model(text)
    values = {"shape": np.array([-1, 2, 4]), "flat": np.array([-1, 8]), "w": np.eye(8, dtype=np.float32)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(item, name) for name, item in values.items())
    batches = [{"x": np.random.default_rng(7).standard_normal((4, 8), np.float32)} for _ in range(3)]
    target = load_target("qnn-htp-emulated")
    prepared = prepare(ir.from_proto(proto), "net")
    plan = draft_plan(prepared, batches, target, QuantizeConfig(wide_db=None)).plan
    follow = {tensor.name: tensor.follows for tensor in plan.tensors}
    assert (follow["r"], follow["t"], follow["s"]) == ("a", "r", "t")
    rules = target.quantization.rules
    layers = {node.outputs[0].name: node for node in prepared.model.graph}
    assert wide_ones(widen_layers(prepared.model, plan, [layers["y"].name], rules)) == {"a", "r", "t", "s", "y"}
    narrow = rules.model_copy(update={"wide": [op for op in rules.wide if op != layers["y"].op_type]})
    assert wide_ones(widen_layers(prepared.model, plan, [layers["a"].name], narrow)) <= {"x"}
