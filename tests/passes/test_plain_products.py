from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.plain_products import PlainProducts

GRAPH = """g (float[b,s,4] x) => (float[b,s,6] y)
<int64[2] rows = {{-1, 4}}, int64[3] back = {{{back}}}> {{
    flat = Reshape(x, rows)
    product = Gemm<{attributes}>(flat, {weight})
    y = Reshape(product, back)
}}"""
USUAL = {"back": "0, -1, 6", "attributes": "alpha = 1.0", "weight": "w, c"}


def x(batch: int, sequence: int):
    return {"x": np.random.default_rng(0).normal(size=(batch, sequence, 4)).astype(np.float32)}


@pytest.mark.parametrize(("weight", "expected"), [("w, c", {"MatMul": 1, "Add": 1}), ("w", {"MatMul": 1})])
def test_a_product_of_rows_is_one_of_three_axes(rewrite_swept, parse_graph, weight, expected):
    text = GRAPH.format(**{**USUAL, "back": "1, -1, 6", "weight": weight}).replace("[b,s,", "[1,s,")
    assert rewrite_swept(PlainProducts(), parse_graph(text, w=(4, 6), c=(6,)), x(1, 5), x(1, 1)) == expected


@pytest.mark.parametrize(
    "change", [{"attributes": "alpha = 0.5"}, {"attributes": "transB = 1", "weight": "u, c"}, {"weight": "w, whole"}]
)
def test_other_products_stay(rewrite_swept, parse_graph, change):
    text = GRAPH.format(**{**USUAL, "back": "1, -1, 6", **change}).replace("[b,s,", "[1,s,")
    found = rewrite_swept(PlainProducts(), parse_graph(text, w=(4, 6), u=(6, 4), c=(6,), whole=(1, 6)), x(1, 5))
    assert found == {"Reshape": 2, "Gemm": 1}


def test_a_reshape_to_other_axes_stays(rewrite_swept, parse_graph):
    text = GRAPH.format(**{**USUAL, "back": "-1, 2, 6"}).replace("float[b,s,4] x", "float[1,s,4] x")
    assert rewrite_swept(PlainProducts(), parse_graph(text, w=(4, 6), c=(6,)), x(1, 4)) == {"Reshape": 2, "Gemm": 1}


def test_golden(golden):
    before = GRAPH.format(**{**USUAL, "back": "1, -1, 6"}).replace("[b,s,", "[1,s,")
    after = "g (float[1,s,4] x) => (float[1,s,6] y) { p = MatMul(x, w)  y = Add(p, c) }"
    golden(PlainProducts(), before, after, x(1, 5), w=(4, 6), c=(6,))
