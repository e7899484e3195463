"""Random inputs for a model without data: good for measuring time, never accuracy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.graph import files
from edgeopt.graph.batch_axes import batch_axes
from edgeopt.graph.signature import TensorSpec

_IMAGE_AXES = 4
_BYTES = 8  # of a value while it is made
_MOST_BYTES = 1 << 33
_SIDE = re.compile(r"height|width|^[hw]$", re.IGNORECASE)
_STEPS = re.compile(r"seq|past|len|time|frame|step|token|cache|total|context|text", re.IGNORECASE)
"""Axes of caches and recordings, which no image has."""


def random_batches(
    model: Path, *, count: int = 8, dynamic_size: int = 64, sizes: Mapping[str, int] = MappingProxyType({}), seed: int = 0
) -> list[Batch]:
    """Return `count` batches of one sample each that fit the inputs of the ONNX file `model`.

    Floats are standard normal, integers 0 or 1 (they may be indices), masks 1. A batch axis (`edgeopt.graph.batch_axes`) has
    size 1, every other dynamic axis `dynamic_size`, the same for axes of one name, or what `sizes` says of its name.

    Raises:
        DataError: an input is of a type, or of an unknown number of axes, that nothing random fits, or an axis of an image is
            open: its size decides the time, and no guess is any good.
    """
    generator = np.random.default_rng(seed)
    signature = files.signature(files.load(model))
    axes = batch_axes(signature)
    shapes = {spec.name: _shape(spec, axes[spec.name], dynamic_size, sizes) for spec in signature.inputs}
    _check_size(shapes, count)
    return [{spec.name: _random(spec, shapes[spec.name], generator) for spec in signature.inputs} for _ in range(count)]


def _check_size(shapes: Mapping[str, tuple[int, ...]], count: int) -> None:
    """Raise an error where random values would fill the memory."""
    for name, shape in shapes.items():
        size_bytes = prod(shape) * _BYTES * count
        if size_bytes > _MOST_BYTES:
            raise DataError(
                f"input '{name}': {count} random inputs of the shape {list(shape)} take {size_bytes / 1e9:,.0f} GB; "
                "ask for smaller axes"
            )


def _shape(spec: TensorSpec, axis: int | None, dynamic_size: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if not spec.ranked:
        raise DataError(f"input '{spec.name}': the model does not say how many axes it has: give real inputs with --data")
    open_axes = [place for place in _spatial(spec, axis) if spec.shape[place] not in sizes]
    if open_axes:
        shape = ", ".join(map(str, spec.shape))
        which = " and ".join(map(str, open_axes))
        raise DataError(
            f"input '{spec.name}' [{shape}]: the model leaves axis {which} open, an image's height or width, on which the time "
            "depends: give real inputs with --data"
        )
    known = (sizes.get(str(size), 1 if place == axis else dynamic_size) for place, size in enumerate(spec.shape))
    return tuple(size if isinstance(size, int) else next_ for size, next_ in zip(spec.shape, known, strict=True))


def _spatial(spec: TensorSpec, axis: int | None) -> list[int]:
    """Return the places of open axes that are the height or width of an image, or may be: four axes and no other meaning."""
    free = [place for place, size in enumerate(spec.shape) if isinstance(size, str) and place != axis]
    image = len(spec.shape) >= _IMAGE_AXES and (spec.dtype.startswith("float") or spec.dtype == "uint8")
    names = {place: str(spec.shape[place]) for place in free}
    return [place for place, name in names.items() if _SIDE.search(name) or (image and not _STEPS.search(name))]


def _random(spec: TensorSpec, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if spec.dtype in ("object", "sequence"):
        raise DataError(f"input '{spec.name}' is of type {spec.dtype}: give real inputs with --data")
    dtype = np.dtype(spec.dtype)
    if "mask" in spec.name:
        return np.ones(shape, dtype)
    if np.issubdtype(dtype, np.integer) or dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
