"""Random inputs for a model nobody gave data for: enough to measure time, never accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.graph import onnx_file
from edgeopt.graph.batch_axes import batch_axes
from edgeopt.graph.signature import TensorSpec


def random_batches(model: Path, *, count: int = 8, dynamic_size: int = 64, seed: int = 0) -> list[Batch]:
    """Return `count` batches of one sample each that fit the inputs of the ONNX file `model`.

    Floats are standard normal, integers 0 or 1 (they may be indices), masks 1. A batch axis (`edgeopt.graph.batch_axes`) has
    size 1, every other dynamic axis `dynamic_size`, the same for axes of one name.

    Raises:
        DataError: an input is of a type, or of an unknown number of axes, that nothing random fits.
    """
    generator = np.random.default_rng(seed)
    signature = onnx_file.signature(onnx_file.load(model, weights=False))
    axes = batch_axes(signature)
    return [
        {spec.name: _random(spec, axes[spec.name], dynamic_size, generator) for spec in signature.inputs} for _ in range(count)
    ]


def _random(spec: TensorSpec, axis: int | None, dynamic_size: int, generator: np.random.Generator) -> Array:
    if not spec.ranked:
        raise DataError(f"input '{spec.name}': the model does not say how many axes it has: give real inputs with --data")
    shape = tuple(
        size if isinstance(size, int) else 1 if position == axis else dynamic_size for position, size in enumerate(spec.shape)
    )
    if spec.dtype in ("object", "sequence"):
        raise DataError(f"input '{spec.name}' is of type {spec.dtype}: give real inputs with --data")
    dtype = np.dtype(spec.dtype)
    if "mask" in spec.name:
        return np.ones(shape, dtype)
    if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
