from __future__ import annotations

import numpy as np

from edgeopt.passes.merge_projections import MergeProjections

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


SHARED = """g (float[b,s,4] x) => (float[b,s,2] y) {{
        k0 = MatMul(x, wk)  v0 = MatMul(x, wv)  h = Sub(k0, v0)
        x2 = Concat<axis = -1>(h, h)
        k2 = MatMul(x2, wk)  v2 = MatMul(x2, {second})  y = Sub(k2, v2)
        }}"""


def test_layers_that_share_their_weights_share_the_merged_one(rewrite, parse_graph):
    seen = []

    class Seen(MergeProjections):
        def call(self, model):
            result = super().call(model)
            seen.extend(node.inputs[1] for node in model.graph if node.op_type == "MatMul")
            return result

    rewrite(Seen(), parse_graph(SHARED.format(second="wv"), **WEIGHTS), x())
    assert (len(seen), len(set(seen))) == (2, 1)


def test_a_weight_that_is_read_in_other_company_is_not_merged(rewrite, parse_graph):
    assert rewrite(MergeProjections(), parse_graph(SHARED.format(second="wu"), **WEIGHTS, wu=(4, 2)), x())["MatMul"] == 4


def test_golden(golden):
    golden(
        MergeProjections(),
        """g (float[b,s,4] x) => (float[b,s,6] q, float[b,s,2] k) {
        q0 = MatMul(x, wq)  q1 = Add(q0, bq)  q = Relu(q1)
        k0 = MatMul(x, wk)  k = Relu(k0)
        }""",
        """g (float[b,s,4] x) => (float[b,s,6] q, float[b,s,2] k) <int64[2] sizes = {6, 2}> {
        p = MatMul(x, w)  a = Add(p, c)  q1, k0 = Split<axis = -1>(a, sizes)
        q = Relu(q1)
        k = Relu(k0)
        }""",
        x(),
        **WEIGHTS,
        w=(4, 8),
        c=(8,),
    )


def test_layers_that_read_merged_ones_are_merged_as_well(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,s,4] x) => (float[b,s,4] q, float[b,s,4] k) {
        a = MatMul(x, w1)
        b0 = MatMul(x, w2)
        c = MatMul(a, w3)  d = MatMul(a, w4)
        q = Add(c, b0)
        k = Relu(d)
        }""",
        w1=(4, 4), w2=(4, 4), w3=(4, 4), w4=(4, 4),
    )  # fmt: skip
    counts = rewrite(MergeProjections(), model, x())
    assert (counts["MatMul"], counts["Split"]) == (2, 2)
