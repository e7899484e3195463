from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.bias_vectors import BiasVectors

ROWS = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
TEXT = "g (float[m,4] x) => (float[m,3] y) { y = Gemm<transB = TURNED>(x, w, c) }"


@pytest.mark.parametrize("shape", [(), (1,), (1, 3)])
@pytest.mark.parametrize(("turned", "weight"), [(0, (4, 3)), (1, (3, 4))])
def test_golden(golden, parse_graph, shape, turned, weight):
    text = TEXT.replace("TURNED", str(turned))
    golden(BiasVectors(), text, text.replace("c)", "v)"), ROWS, w=weight, c=shape, v=(3,))


def test_vectors_and_biases_of_each_row_stay(rewrite, parse_graph):
    for shape in ((3,), (5, 1), (5, 3)):
        graph_pass = BiasVectors()
        rewrite(graph_pass, parse_graph(TEXT.replace("TURNED", "0"), w=(4, 3), c=shape), ROWS)
        assert graph_pass.count == 0


def test_a_bias_that_two_layers_share_becomes_a_vector_for_each(rewrite, parse_graph):
    text = "g (float[m,4] x) => (float[m,3] y, float[m,2] z) { y = Gemm(x, w, c)  z = Gemm(x, u, c) }"
    graph_pass = BiasVectors()
    rewrite(graph_pass, parse_graph(text, w=(4, 3), u=(4, 2), c=(1,)), ROWS)
    assert graph_pass.count == 2


def test_a_bias_of_as_many_rows_as_columns_stays(rewrite, parse_graph):
    graph_pass = BiasVectors()
    text = "g (float[5,4] x) => (float[5,5] y) { y = Gemm(x, w, c) }"
    rewrite(graph_pass, parse_graph(text, w=(4, 5), c=(5, 1)), ROWS)
    assert graph_pass.count == 0
