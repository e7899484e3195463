from __future__ import annotations

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeopt.export.passes.fuse_rms_norm import FuseRmsNorm

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


class Swept(FuseRmsNorm):
    def call(self, model):
        return RemoveUnusedNodesPass()(super().call(model))


def x():
    return {"x": np.random.default_rng(1).normal(size=(2, 3, 8)).astype(np.float32)}


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize(("sum_", "product"), [("mean, epsilon", "x, factor"), ("epsilon, mean", "factor, x")])
def test_seven_nodes_become_one_in_any_order_of_operands(rewrite, parse_graph, axis, sum_, product):
    model = parse_graph(GRAPH.format(axis=axis, sum=sum_, product=product), weight=(8,))
    assert rewrite(Swept(), model, x()) == {"RMSNormalization": 1}


@pytest.mark.parametrize("shape", [(1,), (3, 8)])
def test_a_weight_of_another_shape_stays_apart(rewrite, parse_graph, shape):
    model = parse_graph(GRAPH.format(axis=-1, sum="mean, epsilon", product="x, factor"), weight=shape)
    assert rewrite(Swept(), model, x())["RMSNormalization"] == 0


def test_another_axis_is_another_thing(rewrite, parse_graph):
    model = parse_graph(GRAPH.format(axis=1, sum="mean, epsilon", product="x, factor"), weight=(8,))
    assert rewrite(Swept(), model, x())["RMSNormalization"] == 0
