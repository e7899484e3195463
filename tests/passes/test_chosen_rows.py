from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.chosen_rows import ChosenRows

DEFAULTS = {"row": 0, "axis": -1, "mask_type": "bool", "mask_rows": "s", "outputs": "", "causal": 0, "more": ""}
WEIGHTS = {"wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "wo": (8, 8), "bo": (8,), "scale": (8,), "shift": (8,), "wc": (8, 3)}
LAYER = """g (float[b,s,8] x, {mask_type}[b,1,{mask_rows},s] mask) => (float[b,3] y{outputs})
<int64 row = {{{row}}}> {{
    q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
    a = Attention<q_num_heads = 2, kv_num_heads = 2, is_causal = {causal}>(q, k, v, mask)
    o = MatMul(a, wo)  ob = Add(o, bo)
    r = Add(ob, x)
    h = LayerNormalization<axis = {axis}>(r, scale, shift)
    c = Gather<axis = 1>(h, row)
    y = MatMul(c, wc)
    {more}
}}"""


def layer(**changes):
    return LAYER.format(**DEFAULTS | changes)


def inputs(batch, sequence, rows=None, dtype=bool):
    rng = np.random.default_rng(batch + sequence)
    mask = rng.random((batch, 1, rows or sequence, sequence)) < 0.7
    mask[..., 0] = True
    values = mask if dtype is bool else np.where(mask, 0, -1e4).astype(np.float32)
    return {"x": rng.normal(size=(batch, sequence, 8)).astype(np.float32), "mask": values}


@pytest.mark.parametrize(("row", "axis"), [(0, -1), (0, 2), (-1, -1)])
def test_the_last_layer_computes_one_query(rewrite, parse_graph, row, axis):
    counts = rewrite(ChosenRows(), parse_graph(layer(row=row, axis=axis), **WEIGHTS), inputs(2, 5), inputs(1, 1), inputs(3, 7))
    assert counts == {
        "Gather": 2,  # of x and of the mask; the query is a product of the row of x
        "MatMul": 5,
        "Unsqueeze": 1,
        "Attention": 1,
        "Squeeze": 1,
        "Add": 2,
        "LayerNormalization": 1,
    }


def test_a_float_mask_is_chosen_from_as_well(rewrite, parse_graph):
    model = parse_graph(layer(mask_type="float"), **WEIGHTS)
    assert rewrite(ChosenRows(), model, inputs(2, 5, dtype=float), inputs(1, 3, dtype=float))["Squeeze"] == 1


def test_what_others_read_is_computed_whole(rewrite, parse_graph):
    model = parse_graph(layer(outputs=", float[b,s,8] z", more="z = Relu(h)"), **WEIGHTS)
    assert rewrite(ChosenRows(), model, inputs(2, 5))["Squeeze"] == 0


def test_two_different_rows_stay(rewrite, parse_graph):
    more = "one = Constant<value = int64 {1}>()  d = Gather<axis = 1>(h, one)  z = MatMul(d, wc)"
    model = parse_graph(layer(outputs=", float[b,3] z", more=more), **WEIGHTS)
    assert rewrite(ChosenRows(), model, inputs(2, 5))["Squeeze"] == 0


def test_a_causal_attention_keeps_its_queries_but_what_follows_takes_one_row(rewrite, parse_graph):
    counts = rewrite(ChosenRows(), parse_graph(layer(causal=1), **WEIGHTS), inputs(2, 5))
    assert counts["Unsqueeze"] == 0 and counts["Gather"] == 2  # of the attention's result, and of the residual


def test_a_row_of_a_softmax_over_rows_is_not_the_softmax_of_a_row(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,s,8] x) => (float[b,8] y) <int64 row = {0}> {
        h = MatMul(x, wq)  s0 = Softmax<axis = 1>(h)  y0 = Gather<axis = 1>(s0, row)  y = Relu(y0) }""",
        wq=(8, 8),
    )
    x = np.random.default_rng(0).normal(size=(2, 4, 8)).astype(np.float32)
    assert rewrite(ChosenRows(), model, {"x": x}) == {"MatMul": 1, "Softmax": 1, "Gather": 1, "Relu": 1}


def test_golden(golden):
    golden(
        ChosenRows(),
        layer(),
        """g (float[b,s,8] x, bool[b,1,s,s] mask) => (float[b,3] y)
        <int64 row = {0}, int64[1] rows = {0}, int64[1] axis = {1}> {
            x1 = Gather<axis = 1>(x, row)
            q = MatMul(x1, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
            q1 = Unsqueeze(q, axis)
            m1 = Gather<axis = 2>(mask, rows)
            a1 = Attention<is_causal = 0, kv_num_heads = 2, q_num_heads = 2>(q1, k, v, m1)
            a = Squeeze(a1, axis)
            o = MatMul(a, wo)  ob = Add(o, bo)
            r = Add(ob, x1)
            h = LayerNormalization<axis = -1>(r, scale, shift)
            y = MatMul(h, wc)
        }""",
        inputs(2, 5),
        **WEIGHTS,
    )


ROWWISE = """g (float[b,s,8] x) => (float[b,8] y) <int64 row = {0}> {
    h = MatMul(x, wq)
    r = CALL
    c = Gather<axis = 1>(r, row)
    y = Identity(c)
}"""


@pytest.mark.parametrize(
    "call",
    [
        "RMSNormalization<axis = -1>(h, scale)",
        "Sum(h, x, scale)",
        "Softmax<axis = 2>(h)",
        "Max(h, x)",
        "Mish(h)",
        "Mul(h, k)",  # an operand with one number for each row
    ],
)
def test_a_row_of_what_treats_rows_alike_is_that_of_a_row(rewrite, parse_graph, call):
    text = ROWWISE.replace("CALL", call).replace("h = MatMul(x, wq)", "h = MatMul(x, wq)  k = MatMul(x, one)")
    counts = rewrite(ChosenRows(), parse_graph(text, **WEIGHTS, one=(8, 1)), {"x": inputs(2, 5)["x"]})
    assert counts["Gather"] == 1


def test_rows_without_names_are_not_taken_for_equal(rewrite, parse_graph):
    text = ROWWISE.replace("CALL", "Add(h, z)").replace("float[b,s,8] x", "float[?,?,8] x, float[?,?,8] z")
    batch = {"x": np.ones((1, 3, 8), np.float32), "z": np.ones((2, 3, 8), np.float32)}
    rewrite(ChosenRows(), parse_graph(text, **WEIGHTS), batch)


def test_a_row_that_a_subgraph_chooses_is_left_alone(rewrite, parse_graph):
    text = """g (float[b,s,8] x, bool f) => (float[b,8] y) <int64 row = {0}> {
        h = MatMul(x, wq)
        y = If(f) <
            then_branch = one () => (float[b,8] p) { p = Gather<axis = 1>(h, row) },
            else_branch = two () => (float[b,8] n) { n = Gather<axis = 1>(h, row) }
        >
    }"""
    batch = {"x": inputs(2, 5)["x"], "f": np.array(True)}
    assert rewrite(ChosenRows(), parse_graph(text, **WEIGHTS), batch) == {"MatMul": 1, "If": 1}


def test_a_row_of_an_attention_itself_has_two_axes(rewrite, parse_graph):
    text = """g (float[b,s,8] x) => (float[b,3] y) <int64 row = {0}> {
        q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
        a = Attention<q_num_heads = 2, kv_num_heads = 2>(q, k, v)
        c = Gather<axis = 1>(a, row)
        y = MatMul(c, wc)
    }"""
    counts = rewrite(ChosenRows(), parse_graph(text, **WEIGHTS), {"x": inputs(2, 5)["x"]})
    assert counts == {"Gather": 1, "MatMul": 4, "Unsqueeze": 1, "Attention": 1, "Squeeze": 1}
