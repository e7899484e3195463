from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeopt.passes.linear import match_linear, products_behind


def first(parse_graph, text: str, **weights: tuple[int, ...]) -> ir.Node:
    return ir.from_proto(parse_graph(text, **weights)).graph[0]


@pytest.mark.parametrize("operands", ["p, c", "c, p"])
def test_a_product_and_its_bias_are_one_layer(parse_graph, operands):
    text = f"g (float[b,s,4] x) => (float[b,s,3] y) {{ p = MatMul(x, w)  a = Add({operands})  y = Relu(a) }}"
    layer = match_linear(first(parse_graph, text, w=(4, 3), c=(3,)))
    assert layer is not None and layer.bias is not None
    assert (layer.x.name, layer.weight.name, layer.bias.name, layer.output.name) == ("x", "w", "c", "a")
    assert [node.op_type for node in layer.nodes] == ["MatMul", "Add"]


@pytest.mark.parametrize("more", ["z = Relu(p)", "z = Neg(c)"])
def test_only_a_bias_that_nothing_comes_between_belongs_to_it(parse_graph, more):
    text = f"g (float[b,s,4] x) => (float[b,s,3] y, float z) {{ p = MatMul(x, w)  y = Add(p, c)  {more} }}"
    layer = match_linear(first(parse_graph, text, w=(4, 3), c=(3,)))
    assert layer is not None and (layer.bias is None) == ("p" in more)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[4,4] x) => (float[4,4] y) { p = MatMul(x, x)  y = Relu(p) }",
        "g (float[b,4] x) => (float[2,b,3] y) { p = MatMul(x, w)  y = Relu(p) }",
        "g (float[b,4] x) => (float[2,b,3] y) { y = MatMul(x, w) }",
    ],
)
def test_other_products_are_none(parse_graph, text):
    assert match_linear(first(parse_graph, text, w=(2, 4, 3))) is None


def test_products_are_found_some_steps_behind(parse_graph):
    text = "g (float[4] x) => (float[4] y) { a = Relu(x)  b = Sigmoid(a)  y = Mul(b, x) }"
    value = first(parse_graph, text).outputs[0]
    assert products_behind(value, steps=1) == set()
    assert [node.op_type for node in products_behind(value, steps=2)] == ["Mul"]
