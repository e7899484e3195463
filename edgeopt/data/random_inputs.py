"""Random inputs for a model nobody gave data for: enough to measure time, never accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeopt.data.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.graph import onnx_file
from edgeopt.graph.onnx_file import TensorSpec

_BATCH_NAMES = {"batch", "batch_size", "n", "?"}


def random_batches(model: Path, *, count: int = 8, dynamic_size: int = 64, seed: int = 0) -> list[Batch]:
    """Return `count` batches of one sample each that fit the inputs of the ONNX file `model`.

    Floats are standard normal, integers 0 or 1 (they may be indices), masks 1. A first axis or one named like a batch has size
    1, every other dynamic axis `dynamic_size`, the same for axes of one name.

    Raises:
        DataError: an input is of a type that nothing random fits.
    """
    generator = np.random.default_rng(seed)
    inputs = onnx_file.signature(onnx_file.load(model, weights=False)).inputs
    return [{spec.name: _random(spec, dynamic_size, generator) for spec in inputs} for _ in range(count)]


def _random(spec: TensorSpec, dynamic_size: int, generator: np.random.Generator) -> Array:
    shape = tuple(
        size if isinstance(size, int) else 1 if position == 0 or size.lower() in _BATCH_NAMES else dynamic_size
        for position, size in enumerate(spec.shape)
    )
    if spec.dtype in ("object", "sequence"):
        raise DataError(f"input '{spec.name}' is of type {spec.dtype}: give real inputs with --data")
    dtype = np.dtype(spec.dtype)
    if "mask" in spec.name:
        return np.ones(shape, dtype)
    if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
