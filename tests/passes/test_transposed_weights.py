from __future__ import annotations

import numpy as np

from edgeopt.passes.transposed_weights import TransposedWeights

GRAPH = """g (float[b,4] x, int64[b] rows) => (float[b,6] y, float[b,6] z{more}) {{
    turned = Transpose<perm = [1, 0]>(w)
    y = MatMul(x, turned)
    again = Transpose(w)
    z = MatMul(x, again)
    {reader}
}}"""


def batch():
    return {"x": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), "rows": np.array([0, 5, 2])}


def test_a_matrix_that_is_only_read_transposed_is_stored_so(rewrite_swept, parse_graph):
    assert rewrite_swept(TransposedWeights(), parse_graph(GRAPH.format(more="", reader=""), w=(6, 4)), batch()) == {"MatMul": 2}


def test_an_embedding_that_is_also_read_as_it_is_stays(rewrite_swept, parse_graph):
    text = GRAPH.format(more=", float[b,4] e", reader="e = Gather(w, rows)")
    assert rewrite_swept(TransposedWeights(), parse_graph(text, w=(6, 4)), batch())["Transpose"] == 2


def test_a_matrix_that_is_also_an_output_transposed_stays(rewrite_swept, parse_graph):
    text = GRAPH.format(more=", float[4,6] turned", reader="")
    assert rewrite_swept(TransposedWeights(), parse_graph(text, w=(6, 4)), batch())["Transpose"] == 2


def test_golden(golden):
    before = GRAPH.format(more="", reader="")
    after = "g (float[b,4] x, int64[b] rows) => (float[b,6] y, float[b,6] z) { y = MatMul(x, t)  z = MatMul(x, t) }"
    golden(TransposedWeights(), before, after, batch(), w=(6, 4), t=(4, 6))
