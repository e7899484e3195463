from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.passes.gates_apart import GatesApart

GRAPH = """g (float[b,s,4] x) => (float[b,s,3] y{more})
<int64[2] sizes = {{{sizes}}}> {{
    product = MatMul(x, w)
    {bias}
    g, u = Split<axis = {axis}>(whole, sizes)
    {reader}
}}"""
USUAL = {
    "more": "", "sizes": "3, 3", "axis": "-1", "bias": "whole = Add(product, c)", "reader": "a = Gelu(g)  y = Mul(a, u)",
}  # fmt: skip


def x():
    return {"x": np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"MatMul": 2, "Add": 2, "Gelu": 1, "Mul": 1}),
        ({"axis": "2", "bias": "whole = Identity(product)"}, {}),
        ({"reader": "a = Sigmoid(g)  b = Mul(g, a)  y = Mul(b, u)"}, {"MatMul": 2, "Add": 2, "Sigmoid": 1, "Mul": 2}),
    ],
)
def test_gate_and_up_get_a_product_each(rewrite, parse_graph, change, expected):
    found = rewrite(GatesApart(), parse_graph(GRAPH.format(**{**USUAL, **change}), w=(4, 6), c=(6,)), x())
    assert found == expected if expected else found["Split"] == 1  # a product that something else reads


@pytest.mark.parametrize(
    "change",
    [
        {"reader": "y = Add(g, u)"},  # not gated
        {"more": ", float[b,s,3] u"},  # a part is an output
        {"sizes": "2, 3", "axis": "1", "reader": "g1 = ReduceSum(g)  u1 = ReduceSum(u)  m = Mul(g1, u1)  y = Add(m, half)"},
    ],
)
def test_other_splits_stay(rewrite, parse_graph, change):
    text = GRAPH.format(**{**USUAL, **change})
    if "half" in text:
        text = text.replace("float[b,s,3] y", "float[1,1,3] y")
    model = parse_graph(text, w=(4, 6), c=(6,), half=(3,))
    assert rewrite(GatesApart(), model, x())["Split"] == 1


def test_layers_that_share_a_weight_share_its_parts(parse_graph):
    text = GRAPH.format(**USUAL).replace("y{more}", "y").replace("=> (float[b,s,3] y", "=> (float[b,s,3] y, float[b,s,3] y2")
    text = text.replace(
        "    product =", "    p2 = MatMul(x, w)  w2 = Add(p2, c)  g2, u2 = Split<axis = -1>(w2, sizes)\n    product ="
    )
    text = text.replace("y = Mul(a, u)", "y = Mul(a, u)  a2 = Gelu(g2)  y2 = Mul(a2, u2)")
    model = ir.from_proto(parse_graph(text, w=(4, 6), c=(6,)))
    GatesApart()(model)
    products = [node.inputs[1] for node in model.graph if node.op_type == "MatMul"]
    assert (len(products), len(set(products))) == (4, 2)


def test_golden(golden):
    golden(
        GatesApart(),
        GRAPH.format(**USUAL),
        """g (float[b,s,4] x) => (float[b,s,3] y) {
            g = MatMul(x, wg)  g1 = Add(g, cg)
            u = MatMul(x, wu)  u1 = Add(u, cu)
            a = Gelu(g1)  y = Mul(a, u1)
        }""",
        x(),
        w=(4, 6), c=(6,), wg=(4, 3), wu=(4, 3), cg=(3,), cu=(3,),
    )  # fmt: skip
