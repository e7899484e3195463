"""Ranges that follow from others, and those that stand around an operator together."""

import onnx
import onnx_ir as ir

from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme, TensorPlan
from edgeopt.quantize.plan.shared_ranges import follow_ranges, followers, following, unite_ranges

SCHEME = Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True)
TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 2, 4, 4] x, float[2, 2, 1, 1] w) => (float[1, 4, 8] y) <int64[3] s = {1, 4, 8}> {
    a = Conv (x, w)
    r = Relu (a)
    m = Concat <axis = 1> (r, x)
    t = Transpose <perm = [0, 1, 3, 2]> (m)
    y = Reshape (t, s)
}
"""


def model() -> ir.Model:
    made = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(TEXT))
    for node in made.graph.node:
        node.name = node.output[0]
    return ir.from_proto(made)


def plan_of(*integer: str, **ranges: tuple[float, float]) -> Plan:
    nodes = tuple(NodePlan(name, "?", "int8", "int8", Cause.BETWEEN) for name in integer)
    return Plan("t", SCHEME, nodes, tuple(TensorPlan(name, "uint8", *span, "mse") for name, span in ranges.items()), ())


def test_moved_values_take_the_range_they_had_and_absorbed_ones_the_range_they_get():
    plan = follow_ranges(model(), plan_of("a", "r", "m", "t", "y", x=(-1, 1), r=(0, 2), m=(-1, 2)))
    found = {tensor.name: (tensor.low, tensor.high, tensor.follows) for tensor in plan.tensors}
    assert found["a"] == (0, 2, "r")
    assert found["t"] == (-1, 2, "m") and found["y"] == (-1, 2, "t")
    assert found["m"] == (-1, 2, None)
    assert followers(model(), plan.nodes) == {"a", "t", "y"}


def test_sources_come_before_their_followers():
    pairs = following(model(), plan_of("a", "r", "m", "t", "y").nodes)
    assert pairs.index(("t", "m")) < pairs.index(("y", "t"))


def test_floating_nodes_share_nothing():
    plan = follow_ranges(model(), plan_of("a", x=(-1, 1), r=(0, 2), m=(-1, 2)))
    assert [tensor.name for tensor in plan.tensors] == ["x", "r", "m"]


def test_a_width_of_its_own_stays_when_a_range_is_followed_again():
    plan = follow_ranges(model(), plan_of("t", m=(-1, 2)))
    wide = [TensorPlan("t", "uint16", 0, 0, "mse", "m") if tensor.name == "t" else tensor for tensor in plan.tensors]
    again = follow_ranges(model(), Plan("t", SCHEME, plan.nodes, tuple(wide), ()))
    assert {tensor.name: (tensor.dtype, tensor.high) for tensor in again.tensors}["t"] == ("uint16", 2)


def test_united_ranges_remember_their_own_and_come_apart_again():
    plan = unite_ranges(model(), plan_of("m", x=(-3, 1), r=(0, 2), m=(-1, 2)), {"Concat"})
    assert {(tensor.low, tensor.high) for tensor in plan.tensors} == {(-3, 2)}
    assert {tensor.name: tensor.own for tensor in plan.tensors} == {"x": (-3, 1), "r": (0, 2), "m": (-1, 2)}
    apart = unite_ranges(model(), Plan("t", SCHEME, (), plan.tensors, ()), {"Concat"})
    assert {tensor.name: (tensor.low, tensor.high, tensor.own) for tensor in apart.tensors} == {
        "x": (-3, 1, None), "r": (0, 2, None), "m": (-1, 2, None)
    }  # fmt: skip
