from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeopt.graph.session import open_model
from edgeopt.quantize.language.blocks import joined, round_blocks
from edgeopt.quantize.language.layers import (
    Packed,
    declare,
    find_layers,
    find_tables,
    give_own_constants,
    norm_weights,
    side_by_side,
)

TEXT = """g (int64[b,s] ids, float[b,s,64] x) => (float[b,s,64] rows, float[b,s,40] logits) {
    rows = Gather<axis = 0>(table, ids)
    product = MatMul(x, w)
    logits = Add(product, bias)
}"""


def test_rows_and_products_are_read_from_blocks(parse_text):
    model = parse_text(TEXT, table=(50, 64), w=(64, 40), bias=(40,))
    layers, tables = find_layers(model), find_tables(model)
    assert [layer.head for layer in layers] == [True], "the bias behind it does not hide the head"
    table = tables[0].source.const_value.numpy()
    rows, products = round_blocks(table, bits=8, block=32), round_blocks(layers[0].weight(), bits=4, block=32)
    bias = model.graph.initializers["bias"].const_value.numpy()
    Packed(model.graph, rows, "table", 8).look_up(tables[0])
    Packed(model.graph, products, "w", 4).multiply(layers[0])
    declare(model)
    x = np.random.default_rng(0).normal(size=(1, 3, 64)).astype(np.float32)
    ids = np.array([[4, 49, 0]])
    found = open_model(model).run(["rows", "logits"], {"ids": ids, "x": x})
    np.testing.assert_allclose(found[0], rows.matrix()[ids], atol=1e-5)
    exact = x @ products.matrix().T + bias
    assert np.abs(found[1] - exact).max() < 0.03 * np.abs(exact).max(), "activations are rounded to 8 bits"


def test_two_products_of_one_input_become_one(parse_text):
    text = """g (float[b,s,64] x) => (float[b,s,40] h, float[b,s,8] logits) {
        g = MatMul(x, gate)  u = MatMul(x, up)  h = Mul(g, u)  logits = MatMul(x, head)
    }"""
    model = parse_text(text, gate=(64, 40), up=(64, 40), head=(64, 8))
    layers = find_layers(model)
    groups = side_by_side(layers, {layer.name: 4 for layer in layers})
    assert [len(group) for group in groups] == ([2, 1] if len(layers) == 3 else [2])
    parts = [round_blocks(layer.weight(), bits=4, block=32) for layer in groups[0]]
    Packed(model.graph, joined(parts), "both", 4).multiply_all(groups[0])
    declare(model)
    x = np.random.default_rng(0).normal(size=(1, 3, 64)).astype(np.float32)
    exact = (x @ parts[0].matrix().T) * (x @ parts[1].matrix().T)
    found = open_model(model).run(["h"], {"x": x})[0]
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max(), "activations are rounded to 8 bits"


def test_products_of_one_constant_have_constants_of_their_own(parse_text):
    text = """g (float[b,s,64] x) => (float[b,s,64] logits) {
        a = MatMul(x, w)  b = MatMul(a, w)  turned = Transpose<perm = [1, 0]>(v)  c = MatMul(b, turned)  d = MatMul(c, turned)
        again = Transpose<perm = [1, 0]>(v)  logits = MatMul(d, again)
    }"""
    model = parse_text(text, w=(64, 64), v=(64, 64))
    x = np.random.default_rng(0).normal(size=(1, 3, 64)).astype(np.float32)
    before, weights = open_model(model).run(["logits"], {"x": x})[0], [layer.weight() for layer in find_layers(model)]
    give_own_constants(model)
    layers = find_layers(model)
    assert len({layer.source for layer in layers}) == len({layer.node.inputs[1] for layer in layers}) == len(layers) == 5
    assert all(np.array_equal(layer.weight(), values) for layer, values in zip(layers, weights, strict=True))
    np.testing.assert_array_equal(open_model(model).run(["logits"], {"x": x})[0], before)


def test_small_and_computed_matrices_are_no_layers(parse_text):
    text = "g (float[b,4] x, float[4,300] v) => (float[b,4] logits, float[b,300] z) { logits = MatMul(x, w) z = MatMul(x, v) }"
    model = parse_text(text, w=(4, 4))
    assert find_layers(model) == []
    assert isinstance(model, ir.Model)


def test_weights_of_layer_norms_are_weights_of_norms(parse_text):
    """The decoders of GPT-2 and OPT have no other."""
    text = "g (float[2, 8] x) => (float[2, 8] y) { y = LayerNormalization (x, scale, bias) }"
    assert [value.name for value in norm_weights(parse_text(text, scale=(8,), bias=(8,)))] == ["scale"]
