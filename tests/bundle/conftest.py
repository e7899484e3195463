"""Two tiny models, a classifier with a dynamic batch and a ragged one, and the specs of bundles made from them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.numpy_helper
import onnx.parser
import pytest

from edgeopt.bundle import BundleSpec

CLASSIFIER = """
<ir_version: 9, opset_import: ["" : 19]>
classify (float[batch, 4] pixels) => (float[batch, 3] logits) {
    hidden = MatMul(pixels, weight)
    logits = Relu(hidden)
}
"""
RAGGED = """
<ir_version: 9, opset_import: ["" : 19]>
ragged (int64[batch, sequence] ids) => (float[batch, sequence] twice) {
    float_ids = Cast <to = 1> (ids)
    twice = Add(float_ids, float_ids)
}
"""


def classifier() -> onnx.ModelProto:
    model = onnx.parser.parse_model(CLASSIFIER)
    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    return model


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "student.onnx"
    path.parent.mkdir()
    onnx.save(classifier(), path)
    return path


@pytest.fixture
def ragged_path(tmp_path: Path) -> Path:
    path = tmp_path / "ragged.onnx"
    onnx.save(onnx.parser.parse_model(RAGGED), path)
    return path


@pytest.fixture
def make_spec(model_path: Path) -> Callable[..., BundleSpec]:
    """The classifier's spec; keyword arguments replace its fields."""
    pixels = np.random.default_rng(1).normal(size=(5, 1, 4)).astype(np.float32)

    def make(**changes: Any) -> BundleSpec:
        spec = BundleSpec(
            model=model_path,
            name="student",
            task="image-classification",
            target="x86-vnni",
            golden=[{"pixels": sample} for sample in pixels],
            labels=("cat", "dog", "owl"),
            recipe_toml='name = "quickstart"\n',
        )
        return dataclasses.replace(spec, **changes)

    return make
