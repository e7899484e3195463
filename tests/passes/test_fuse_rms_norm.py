from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeopt.passes.fuse_rms_norm import FuseRmsNorm

GRAPH = """g (float[b,s,8] x) => (float[b,s,8] y)
<float two = {{2.0}}, float epsilon = {{0.01}}, int64[1] last = {{{axis}}}> {{
    square = Pow(x, two)
    mean = ReduceMean(square, last)
    shifted = Add({sum})
    root = Sqrt(shifted)
    factor = Reciprocal(root)
    scaled = Mul({product})
    y = Mul(weight, scaled)
}}"""


def x():
    return {"x": np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)}


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize(("sum_", "product"), [("mean, epsilon", "x, factor"), ("epsilon, mean", "factor, x")])
def test_seven_nodes_become_one_in_any_order_of_operands(rewrite_swept, parse_graph, axis, sum_, product):
    model = parse_graph(GRAPH.format(axis=axis, sum=sum_, product=product), weight=(8,))
    assert rewrite_swept(FuseRmsNorm(), model, x()) == {"RMSNormalization": 1}


@pytest.mark.parametrize("shape", [(1,), (3, 8)])
def test_a_weight_of_another_shape_stays_apart(rewrite_swept, parse_graph, shape):
    model = parse_graph(GRAPH.format(axis=-1, sum="mean, epsilon", product="x, factor"), weight=shape)
    assert rewrite_swept(FuseRmsNorm(), model, x())["RMSNormalization"] == 0


def test_another_axis_is_another_thing(rewrite_swept, parse_graph):
    model = parse_graph(GRAPH.format(axis=1, sum="mean, epsilon", product="x, factor"), weight=(8,))
    assert rewrite_swept(FuseRmsNorm(), model, x())["RMSNormalization"] == 0


HALF = """g (float16[b,s,8] x) => (float16[b,s,8] y) <float two = {2.0}, float epsilon = {0.01}, int64[1] last = {-1}> {
    weight = Cast<to = 10>(w)
    wide = Cast<to = 1>(x)
    square = Pow(wide, two)
    mean = ReduceMean(square, last)
    shifted = Add(mean, epsilon)
    root = Sqrt(shifted)
    factor = Reciprocal(root)
    scaled = Mul(wide, factor)
    narrow = Cast<to = 10>(scaled)
    y = Mul(weight, narrow)
}"""


def test_in_half_precision_the_casts_around_it_are_part_of_it(parse_graph):
    model = ir.from_proto(parse_graph(HALF, w=(8,)))
    assert ir.passes.Sequential(FuseRmsNorm(), RemoveUnusedNodesPass())(model).modified
    assert [node.op_type for node in model.graph] == ["Cast", "RMSNormalization"]
    assert [value.dtype for value in model.graph.node(1).inputs] == [ir.DataType.FLOAT16] * 2
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    half = x()["x"].astype(np.float16)
    wide = half.astype(np.float64)
    weight = model.graph.initializers["w"].const_value.numpy()
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 0.01) * weight
    np.testing.assert_allclose(session.run(None, {"x": half})[0], expected, rtol=2e-3, atol=2e-3)


def test_a_norm_that_stays_in_float32_keeps_its_cast(parse_graph):
    text = HALF.replace("narrow = Cast<to = 10>(scaled)", "narrow = Cast<to = 11>(scaled)")
    text = text.replace("weight = Cast<to = 10>(w)", "weight = Cast<to = 11>(w)").replace("=> (float16", "=> (double")
    model = ir.from_proto(parse_graph(text, w=(8,)))
    assert "RMSNormalization" not in {node.op_type for node in FuseRmsNorm()(model).model.graph}


def test_golden(golden):
    before = GRAPH.format(axis=-1, sum="mean, epsilon", product="x, factor")
    after = "g (float[b,s,8] x) => (float[b,s,8] y) { y = RMSNormalization<axis = -1, epsilon = 0.01>(x, weight) }"
    golden(FuseRmsNorm(), before, after, x(), weight=(8,))
