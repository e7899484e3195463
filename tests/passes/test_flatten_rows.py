from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeopt.passes.flatten_rows import FlattenRows
from edgeopt.passes.gemm import Gemm

WEIGHTS = {"w1": (4, 8), "b1": (8,), "w2": (8, 4), "b2": (4,), "scale": (4,), "shift": (4,), "wide": (1, 3, 8)}
BLOCK = """g (float[{batch},3,4] x) => (float[{batch},3,4] y) {{
    h0 = MatMul(x, w1)  h1 = Add(h0, b1)  h2 = Gelu(h1)
    z0 = MatMul(h2, w2)  z1 = Add(z0, b2)
    r = Add(z1, x)
    y = LayerNormalization<axis = {axis}>(r, scale, shift)
}}"""


def rows_and_gemm():
    return ir.passes.Sequential(FlattenRows(), Gemm())


def x(batch=2, last=4):
    return {"x": np.random.default_rng(1).normal(size=(batch, 3, last)).astype(np.float32)}


def test_a_block_runs_on_rows_with_its_biases_in_gemm(rewrite, parse_graph):
    counts = rewrite(rows_and_gemm(), parse_graph(BLOCK.format(batch="b", axis=-1), **WEIGHTS), x(2), x(5))
    assert counts == {"Reshape": 2, "Gemm": 2, "Gelu": 1, "Add": 1, "LayerNormalization": 1}


def test_known_sizes_need_no_shape_arithmetic_and_a_positive_axis_is_followed(rewrite, parse_graph):
    counts = rewrite(rows_and_gemm(), parse_graph(BLOCK.format(batch=2, axis=2), **WEIGHTS), x(2))
    assert counts["Gemm"] == 2 and counts["Shape"] == 0


def test_what_differs_from_row_to_row_stays_outside(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,3,4] x) => (float[b,3,8] y, float[b,8] mean) {
        h0 = MatMul(x, w1)  h1 = Add(h0, b1)
        y = Add(h1, wide)
        s = Softmax<axis = 1>(h1)
        axes = Constant<value = int64[1] {1}>()
        mean = ReduceMean<keepdims = 0>(s, axes)
        }""",
        **WEIGHTS,
    )
    counts = rewrite(rows_and_gemm(), model, x(2), x(4))
    assert counts["Gemm"] == 1 and counts["Softmax"] == 1 and counts["Reshape"] == 2


def test_a_product_that_is_itself_an_output_is_right(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,3,4] x) => (float[b,3,8] y, float[b,3,8] z) {
        h0 = MatMul(x, w1)
        y = Add(h0, b1)
        z = Relu(y)
        }""",
        **WEIGHTS,
    )
    assert rewrite(rows_and_gemm(), model, x(2))["Gemm"] == 1


def test_two_axes_are_left_as_they_are_but_for_the_bias(rewrite, parse_graph):
    model = parse_graph("g (float[b,4] x) => (float[b,8] y) { h = MatMul(x, w1)  y = Add(h, b1) }", **WEIGHTS)
    rows = {"x": x()["x"][:, 0]}
    assert rewrite(rows_and_gemm(), model, rows) == {"Gemm": 1}


def test_sizes_are_read_once_where_two_are_unknown(rewrite, parse_graph):
    text = BLOCK.format(batch="b", axis=-1).replace("float[b,3,4]", "float[b,s,4]")
    counts = rewrite(rows_and_gemm(), parse_graph(text, **WEIGHTS), x(2), x(5))
    assert counts == {"Reshape": 2, "Gemm": 2, "Gelu": 1, "Add": 1, "LayerNormalization": 1, "Shape": 1, "Concat": 1}


def test_axes_without_size_or_name_are_not_taken_for_equal(rewrite, parse_graph):
    text = "g (float[?,?,4] x, float[?,?,4] z) => (float[?,?,4] y) { h = MatMul(x, w)  y = Add(h, z) }"
    single = {"x": np.ones((1, 3, 4), np.float32), "z": np.ones((2, 3, 4), np.float32)}
    assert rewrite(rows_and_gemm(), parse_graph(text, w=(4, 4)), single)["Reshape"] == 0


def test_a_stretch_of_images_is_flattened_where_it_is_asked_for(rewrite, parse_graph):
    text = "g (float[b,3,3,4] x) => (float[b,3,3,8] y) { h = MatMul(x, w1)  r = Relu(h)  y = Add(r, b1) }"
    image = {"x": np.random.default_rng(3).normal(size=(2, 3, 3, 4)).astype(np.float32)}
    assert rewrite(FlattenRows(), parse_graph(text, **WEIGHTS), image)["Reshape"] == 0
    assert rewrite(FlattenRows(most_axes=None), parse_graph(text, **WEIGHTS), image)["Reshape"] == 2


def test_what_a_subgraph_reads_gets_its_axes_back(rewrite, parse_graph):
    text = """g (float[b,3,4] x, bool c) => (float[b,3,8] y) {
        h = MatMul(x, w1)
        r = Relu(h)
        y = If(c) <
            then_branch = one () => (float[b,3,8] p) { p = Gelu(r) },
            else_branch = two () => (float[b,3,8] n) { n = Neg(h) }
        >
    }"""
    flags = [{**x(2), "c": np.array(value)} for value in (True, False)]
    assert rewrite(FlattenRows(), parse_graph(text, **WEIGHTS), *flags)["Reshape"] == 3  # x in; h and r out


def test_golden(golden):
    golden(
        FlattenRows(),
        "g (float[b,s,4] x) => (float[b,s,8] y) { h = MatMul(x, w1)  y = Relu(h) }",
        """g (float[b,s,4] x) => (float[b,s,8] y) <int64[2] rows = {-1, 4}, int64[1] width = {8}> {
            x2 = Reshape(x, rows)
            h = MatMul(x2, w1)
            r = Relu(h)
            sizes = Shape<end = 2>(x)
            whole = Concat<axis = 0>(sizes, width)
            y = Reshape(r, whole)
        }""",
        x(2),
        w1=(4, 8),
    )


def test_the_parts_of_one_split_that_leave_share_one_shape(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,s,4] x) => (float[b,s,4] y, float[b,s,4] z, float[b,s,4] r) {
        h = MatMul(x, w1)
        y, z = Split<axis = -1, num_outputs = 2>(h)
        r = Relu(y)
        }""",
        **WEIGHTS,
    )
    counts = rewrite(FlattenRows(), model, x(2))
    assert counts == {"Reshape": 4, "MatMul": 1, "Split": 1, "Relu": 1, "Shape": 1, "Concat": 1}
