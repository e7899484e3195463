from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.passes.attention_scale import AttentionScale

GRAPH = """g (float[b,s,8] x, float[b,4,t,2] k, float[b,4,t,2] v) => (float[b,4,s,2] y{more})
<float factor = {{{factor}}}, float[2] factors = {{0.5, 2.0}}, int64[4] split = {{0, 0, 4, 2}}> {{
    scaled = Mul({product})
    apart = Reshape(scaled, split)
    q = Transpose<perm = [0, 2, 1, 3]>(apart)
    y = Attention<{scale}>(q, k, v)
}}"""
USUAL = {"more": "", "factor": "0.125", "product": "x, factor", "scale": "scale = 2.0"}


def batch():
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 3, 8), "k": (2, 4, 5, 2), "v": (2, 4, 5, 2)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("product", ["x, factor", "factor, x"])
def test_a_factor_becomes_the_scale(rewrite, parse_graph, product):
    seen: list[float] = []

    class Seen(AttentionScale):
        def call(self, model: ir.Model):
            result = super().call(model)
            seen.extend(node.attributes["scale"].value for node in model.graph if node.op_type == "Attention")
            return result

    rewrite(Seen(), parse_graph(GRAPH.format(**{**USUAL, "product": product})), batch())
    assert seen == [0.25]


@pytest.mark.parametrize(
    "change",
    [
        {"scale": "softcap = 0.0"},  # the default scale, of the size of a head
        {"factor": "-0.125"},
        {"product": "x, x"},
        {"more": ", float[b,s,8] scaled"},
    ],
)
def test_other_products_stay(rewrite, parse_graph, change):
    changed = AttentionScale()
    model = ir.from_proto(parse_graph(GRAPH.format(**{**USUAL, **change})))
    assert not changed(model).modified


def test_golden(golden):
    after = """g (float[b,s,8] x, float[b,4,t,2] k, float[b,4,t,2] v) => (float[b,4,s,2] y)
    <int64[4] split = {0, 0, 4, 2}> {
        apart = Reshape(x, split)
        q = Transpose<perm = [0, 2, 1, 3]>(apart)
        y = Attention<scale = 0.25>(q, k, v)
    }"""
    golden(AttentionScale(), GRAPH.format(**USUAL), after, batch())
