from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.gemm import Gemm

ROWS = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
PRODUCT = "g (float[m,4] x) => (float[m,3] y) { p = MatMul(x, w)  y = Add(SUM) }"


@pytest.mark.parametrize("operands", ["p, c", "c, p"])
@pytest.mark.parametrize("without_bias", [False, True])
def test_golden(golden, operands, without_bias):
    after = "g (float[m,4] x) => (float[m,3] y) { y = Gemm(x, w, c) }"
    golden(Gemm(without_bias=without_bias), PRODUCT.replace("SUM", operands), after, ROWS, w=(4, 3), c=(3,))


def test_products_without_a_bias_become_gemm_where_asked_for(rewrite, parse_graph):
    text = "g (float[m,4] x) => (float[m,3] y) { y = MatMul(x, w) }"
    assert rewrite(Gemm(), parse_graph(text, w=(4, 3)), ROWS) == {"MatMul": 1}
    assert rewrite(Gemm(without_bias=True), parse_graph(text, w=(4, 3)), ROWS) == {"Gemm": 1}


def test_a_bias_of_each_row_stays_outside_the_gemm(rewrite, parse_graph):
    model = parse_graph(PRODUCT.replace("SUM", "p, c"), w=(4, 3), c=(5, 1))
    assert rewrite(Gemm(without_bias=True), model, ROWS) == {"Gemm": 1, "Add": 1}


def test_a_product_that_others_read_keeps_its_bias_apart(rewrite, parse_graph):
    text = "g (float[m,4] x) => (float[m,3] y, float[m,3] z) { p = MatMul(x, w)  y = Add(p, c)  z = Relu(p) }"
    assert rewrite(Gemm(without_bias=True), parse_graph(text, w=(4, 3), c=(3,)), ROWS) == {"Gemm": 1, "Add": 1, "Relu": 1}
    assert rewrite(Gemm(), parse_graph(text, w=(4, 3), c=(3,)), ROWS)["Gemm"] == 0


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("g (float[m,2,4] x) => (float[m,2,3] y) { y = MatMul(x, w) }", {"w": (4, 3)}),
        ("g (float[m,4] x) => (float[3] y) { y = MatMul(v, w) }", {"w": (4, 3), "v": (4,)}),
        ("g (float[m,4] x) => (float[2,m,3] y) { y = MatMul(x, w) }", {"w": (2, 4, 3)}),
        ("g (float[m,4] x, float[4,3] z) => (float[m,3] y) { y = MatMul(x, z) }", {}),
    ],
)
def test_other_products_stay(rewrite, parse_graph, text, weights):
    assert rewrite(Gemm(without_bias=True), parse_graph(text, **weights))["Gemm"] == 0
