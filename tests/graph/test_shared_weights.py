"""Weights that onnxruntime reads where they lie."""

import gc

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph import files, shared_weights
from edgeopt.graph.session import open_model
from edgeopt.graph.shared_weights import share

WIDTH = 192  # 147,456 bytes: large enough to be shared


def stack(*, kind: type = np.float32) -> ir.Model:
    """Return x · W + b, W large and b small."""
    model = (
        files.as_ir(
            onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 20]>
        g (float[n,{WIDTH}] x) => (float[n,{WIDTH}] y)
        <float[1] b = {{0.5}}> {{ k = Cast <to = 1> (W)  m = MatMul (x, k)  y = Add (m, b) }}
    """)
        )
        if kind is not np.float32
        else files.as_ir(
            onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 20]>
        g (float[n,{WIDTH}] x) => (float[n,{WIDTH}] y)
        <float[1] b = {{0.5}}> {{ m = MatMul (x, W)  y = Add (m, b) }}
    """)
        )
    )
    weight = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(kind)
    for node in model.graph:
        for place, value in enumerate(node.inputs):
            if value is not None and value.name == "W":
                given = ir.Value(name="W", const_value=ir.Tensor(weight, name="W"))
                model.graph.initializers["W"] = given
                node.replace_input_with(place, given)
    return model


def test_large_weights_are_not_copied_and_small_ones_travel_with_the_structure() -> None:
    model = stack()
    shared = share(model)
    assert shared is not None and list(shared.weights) == ["W"]
    array = model.graph.initializers["W"].const_value.numpy()
    assert shared.weights["W"].data_ptr() == array.ctypes.data
    assert len(shared.structure) < 2000


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8])
def test_a_session_that_shares_weights_computes_what_one_on_the_bytes_does(kind: type) -> None:
    model = stack(kind=kind)
    x = np.random.default_rng(1).standard_normal((3, WIDTH)).astype(np.float32)
    expected = ort.InferenceSession(files.serialized(model), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    np.testing.assert_array_equal(open_model(model).run(None, {"x": x})[0], expected)


def test_the_weights_live_as_long_as_the_session() -> None:
    x = np.ones((1, WIDTH), np.float32)
    expected = open_model(stack()).run(None, {"x": x})[0]
    session = open_model(stack())
    gc.collect()
    np.empty((64, WIDTH, WIDTH), np.float32).fill(7.0)  # what was freed would be written over
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], expected)


def test_weights_on_the_pages_of_a_file_are_shared_as_they_are(tmp_path) -> None:
    files.save(stack(), tmp_path / "model.onnx", external=True)
    x = np.ones((1, WIDTH), np.float32)
    expected = open_model(stack()).run(None, {"x": x})[0]
    np.testing.assert_array_equal(open_model(files.load(tmp_path / "model.onnx")).run(None, {"x": x})[0], expected)


def test_what_fits_no_message_and_cannot_be_shared_takes_the_way_over_a_file(monkeypatch) -> None:
    monkeypatch.setattr(files, "MOST_IN_MESSAGE", 50_000)
    monkeypatch.setattr(shared_weights, "_SMALLEST", 1 << 30)
    assert share(stack()) is None
    x = np.ones((1, WIDTH), np.float32)
    assert open_model(stack()).run(None, {"x": x})[0].shape == (1, WIDTH)
