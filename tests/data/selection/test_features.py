"""Feature vectors: which tensor they are read from, and what they are the mean of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.data.selection.features import FeatureModel, feature_tensor, pooled
from edgeopt.errors import DataError
from edgeopt.graph.files import load

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g '


@pytest.mark.parametrize(
    ("nodes", "tensor"),
    [
        ("r = Relu(x) y = MatMul(r, w)", "r"),
        ("r = Relu(x) p = MatMul(r, w) q = Add(b, p) y = Softmax(q)", "r"),
        ("v = Constant <value = float[2, 2] {1, 0, 0, 1}> () r = Relu(x) y = MatMul(r, v)", "r"),
        # a product of two activations is no layer; the one before it is found on its first side
        ("r = Relu(x) q = MatMul(r, w) t = Transpose(x) p = MatMul(q, t) y = MatMul(p, q)", "r"),
        # the last layer counts, not the one before it
        ("a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", "r"),
        # a layer that reads the model's input has no features
        ("a = MatMul(x, w) y = Relu(a)", "y"),
        ("a = Neg(x) y = Relu(a)", "y"),
        # only what leads to the first output
        ("y = Neg(x) r = Relu(x) z = MatMul(r, w)", "y"),
    ],
)
def test_features_are_what_enters_the_last_layer_with_weights(nodes: str, tensor: str) -> None:
    outputs = "float[n, 2] y, float[n, 2] z" if "z =" in nodes else "float[n, 2] y"
    weights = "<float[2, 2] w = {1, 0, 0, 1}, float[2] b = {1, 2}>"
    model = parser.parse_model(f"{HEAD} (float[n, 2] x) => ({outputs}) {weights} {{ {nodes} }}")
    assert feature_tensor(ir.from_proto(model)) == tensor


def test_an_input_that_was_left_out_leads_nowhere() -> None:
    model = parser.parse_model(
        f"{HEAD} (float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {{1, 0, 0, 1}}, float high = {{6}}> "
        "{ r = Relu(x) p = MatMul(r, w) y = Clip(p) }"
    )
    model.graph.node[-1].input.extend(["", "high"])
    assert feature_tensor(ir.from_proto(model)) == "r"


def test_the_features_of_a_network_of_convolutions_are_not_negative_after_its_rectifier(net: Path) -> None:
    assert feature_tensor(load(net)) == "f"
    images = np.random.default_rng(0).uniform(-1, 1, (8, 3, 8, 8)).astype(np.float32)
    vectors = FeatureModel(net)(from_arrays({"x": images}), [0, 7])
    assert vectors.shape == (2, 6) and (vectors >= 0).all() and vectors.any()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3), [0, 1, 2]),  # a vector
        ((1, 2, 3), [1.5, 2.5, 3.5]),  # rows of tokens: the mean over tokens
        ((1, 2, 2, 2), [1.5, 5.5]),  # a map: the mean over height and width
        ((3,), [0, 1, 2]),
        ((), [0]),
    ],
)
def test_axes_other_than_the_channels_are_averaged(shape: tuple[int, ...], expected: list[float]) -> None:
    values = np.arange(np.prod(shape, dtype=int), dtype=np.float16).reshape(shape)
    found = pooled(values)
    assert found.tolist() == expected and found.dtype == np.float32


def test_integers_are_no_features() -> None:
    with pytest.raises(DataError, match="the model's features are int64, not floating point; pick at random instead"):
        pooled(np.zeros((1, 3), np.int64))


def test_samples_of_any_length_have_vectors_of_one_length_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    text = "(float[n, t, 2] x) => (float[n, t, 2] y) <float[2, 2] w = {1, 0, 0, 1}> { r = Relu(x) y = MatMul(r, w) }"
    onnx.save(parser.parse_model(HEAD + text), tmp_path / "net.onnx")
    rows = [np.full((1, 2), 4.0), np.array([[1.0, -1.0], [3.0, 5.0]]), np.ones((2, 3))]
    samples = Samples(3, lambda index: {"x": rows[index].astype(np.float32)}, None, "")
    model = FeatureModel(tmp_path / "net.onnx")
    assert model(samples, [1, 0]).tolist() == [[2.0, 2.5], [4.0, 4.0]]
    with pytest.raises(DataError, match="sample 2: the model cannot run on it: "):
        model(samples, [2])


def test_features_that_are_not_finite_name_the_sample(net: Path) -> None:
    images = np.ones((2, 3, 8, 8), np.float32)
    images[1] = 3e38
    with pytest.raises(DataError, match="sample 1: the model's features are not finite"):
        FeatureModel(net)(from_arrays({"x": images}), [0, 1])
