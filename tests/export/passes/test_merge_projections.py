from __future__ import annotations

import numpy as np

from edgeopt.export.passes.merge_projections import MergeProjections

WEIGHTS = {"wq": (4, 6), "wk": (4, 2), "wv": (4, 2), "bq": (6,), "bv": (2,)}


def x(rows=3):
    return {"x": np.random.default_rng(1).normal(size=(2, rows, 4)).astype(np.float32)}


def test_three_layers_of_one_input_become_one_and_a_missing_bias_is_zero(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,s,4] x) => (float[b,s,6] q, float[b,s,2] kv) {
        q0 = MatMul(x, wq)  q1 = Add(q0, bq)  q = Relu(q1)
        k0 = MatMul(x, wk)
        v0 = MatMul(x, wv)  v1 = Add(bv, v0)
        kv = Mul(k0, v1)
        }""",
        **WEIGHTS,
    )
    counts = rewrite(MergeProjections(), model, x(), x(1))
    assert (counts["MatMul"], counts["Add"], counts["Split"]) == (1, 1, 1)


def test_layers_of_different_inputs_and_lone_layers_stay(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,s,4] x) => (float[b,s,6] q, float[b,s,2] k) {
        y = Relu(x)
        q0 = MatMul(x, wq)  q = Relu(q0)
        k0 = MatMul(y, wk)  k = Relu(k0)
        }""",
        **WEIGHTS,
    )
    assert rewrite(MergeProjections(), model, x())["Split"] == 0


def test_a_product_that_is_an_output_is_left_alone(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,s,4] x) => (float[b,s,6] q, float[b,s,2] k) {
        q = MatMul(x, wq)
        k0 = MatMul(x, wk)  k = Relu(k0)
        }""",
        **WEIGHTS,
    )
    assert rewrite(MergeProjections(), model, x())["MatMul"] == 2
