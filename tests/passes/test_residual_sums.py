from __future__ import annotations

import numpy as np

from edgeopt.passes.residual_sums import ResidualSums

BATCH = {"x": np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)}


def test_golden(golden):
    text = """g (float[b,s,8] x) => (float[b,s,8] y, float[b,s,8] z) {
        a = Relu(x)
        r = OP(a, x)
        y = LayerNormalization<axis = -1>(r, g1, g2)
        z = Add(r, y)
    }"""
    golden(ResidualSums(), text.replace("OP", "Add"), text.replace("OP", "Sum"), BATCH, g1=(8,), g2=(8,))


def test_only_the_first_input_of_a_normalisation_is_a_residual(rewrite, parse_graph):
    text = "g (float[b,s,8] x) => (float[b,s,8] y) { w = Add(g1, g2)  y = LayerNormalization<axis = -1>(x, w, g2) }"
    assert rewrite(ResidualSums(), parse_graph(text, g1=(8,), g2=(8,)), BATCH) == {"Add": 1, "LayerNormalization": 1}
