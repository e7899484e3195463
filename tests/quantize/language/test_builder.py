from __future__ import annotations

import numpy as np
import pytest

from edgeopt.graph import files
from edgeopt.quantize.language.builder import Builder
from edgeopt.quantize.language.guard import at_level
from edgeopt.quantize.language.layers import find_layers, find_tables
from edgeopt.quantize.language.text import Reader


def bits_of(model, body):
    return {layer.name: 8 if layer.head else body for layer in find_layers(model)}


def test_layers_are_found_with_their_places(decoder):
    model, _ = decoder
    layers = find_layers(model)
    assert len(layers) == 2 * 5 + 1
    assert [layer.head for layer in layers] == [False] * 10 + [True]
    assert layers[-1].turned
    assert layers[-1].source is find_tables(model)[0].source, "the head reads the embedding"
    assert all(layer.weight().shape == (100, 64) for layer in layers[-1:])


@pytest.mark.parametrize("body", [4, 8])
def test_the_blocks_compute_what_they_stand_for(decoder, windows, body):
    model, facts = decoder
    builder = Builder(model, 32, 64, "search")
    made = builder.build(bits_of(model, body))
    tokens = windows[0]
    exact = Reader(model, facts)(tokens)
    found = Reader(at_level(made, 0), facts)(tokens)
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert error < (0.4 if body == 4 else 0.05)
    fast = Reader(made, facts)(tokens)
    assert np.abs(fast - found).max() / np.abs(exact).max() < 0.05


def test_every_product_is_at_level_4_and_nothing_is_transposed(decoder):
    model, _ = decoder
    made = Builder(model, 32, 64, "rtn").build(bits_of(model, 4))
    products = [node for node in made.graph if node.op_type == "MatMulNBits"]
    assert len(products) == 9, "gate and up are one"
    assert all(node.attributes["accuracy_level"].value == 4 for node in products)
    assert not {"MatMul", "Transpose", "Gather"} & {node.op_type for node in made.graph if "embed" in (node.name or "")}
    assert [node.op_type for node in made.graph].count("GatherBlockQuantized") == 1
    assert "Transpose" not in {node.op_type for node in made.graph}


def test_embedding_and_head_are_one_tensor_in_the_file(decoder, tmp_path):
    model, _ = decoder
    made = Builder(model, 32, 64, "rtn").build(bits_of(model, 4))
    written = files.save(made, tmp_path / "model.onnx", external=True)
    assert [path.name for path in written] == ["model.onnx", "model.onnx.data"]
    import onnx

    proto = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in proto.graph.initializer
        if tensor.external_data
    }
    head = next(node for node in made.graph if node.op_type == "MatMulNBits" and node.attributes["N"].value == 100)
    rows = next(node for node in made.graph if node.op_type == "GatherBlockQuantized")
    assert places[head.inputs[1].name]["offset"] == places[rows.inputs[0].name]["offset"]
    loaded = files.load(tmp_path / "model.onnx")
    np.testing.assert_array_equal(
        loaded.graph.initializers[head.inputs[1].name].const_value.numpy().ravel(),
        loaded.graph.initializers[rows.inputs[0].name].const_value.numpy().ravel(),
    )


def test_matrices_that_are_not_named_stay(decoder):
    model, _ = decoder
    names = [layer.name for layer in find_layers(model)]
    made = Builder(model, 32, 64, "rtn", table_bits=0).build({names[0]: 4})
    kinds = [node.op_type for node in made.graph]
    assert (kinds.count("MatMulNBits"), kinds.count("MatMul"), kinds.count("Gather") > 0) == (1, 10, True)


def test_products_of_one_input_are_one_unless_their_bits_differ(decoder):
    model, _ = decoder
    bits = bits_of(model, 4)
    lifted = bits | {name: 8 for name in bits if "gate_proj" in name}
    for given, products, splits in ((bits, 9, 2), (lifted, 11, 0)):
        kinds = [node.op_type for node in Builder(model, 32, 64, "rtn").build(given).graph]
        assert (kinds.count("MatMulNBits"), kinds.count("Split")) == (products, splits)
