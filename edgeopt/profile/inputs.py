"""Inputs of a profile: checked against the model before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from edgeopt.batches import Batch, Batches
from edgeopt.errors import DataError
from edgeopt.graph.signature import Signature, TensorSpec


def take_batches(inputs: Batches, *, most: int) -> list[Batch]:
    """Return the first `most` batches.

    Raises:
        DataError: there is none.
    """
    batches = list(islice(iter(inputs), most))
    if not batches:
        raise DataError("profile: there are no input batches; give at least one")
    return batches


def shapes_of(batches: Sequence[Batch]) -> dict[str, list[str]]:
    """Return the types and shapes of each input over all batches, such as ``["float32 [1, 3, 224, 224]"]``."""
    found: dict[str, dict[str, None]] = {}
    for batch in batches:
        for name, array in batch.items():
            found.setdefault(name, {})[f"{array.dtype} {list(array.shape)}"] = None
    return {name: list(shapes) for name, shapes in found.items()}


def check_batches(batches: list[Batch], signature: Signature, *, model: str) -> None:
    """Check names, dtypes and shapes of every batch against the inputs of `model`.

    Raises:
        DataError: a batch does not fit; the message names batch, input and what is allowed.
    """
    expected = {spec.name: spec for spec in signature.inputs}
    if not expected:
        raise DataError(f"profile: {model} takes no inputs, so its outputs are constants and there is nothing to measure")
    for number, batch in enumerate(batches):
        if set(batch) != set(expected):
            raise DataError(f"profile: batch {number} has inputs {sorted(batch)}, but {model} takes {sorted(expected)}")
        for name, array in batch.items():
            problem = _problem(np.asarray(array), expected[name])
            if problem:
                raise DataError(f"profile: batch {number}, input '{name}' of {model}: {problem}")


def _problem(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], spec: TensorSpec) -> str:
    if array.dtype.name != spec.dtype:
        return f"dtype {array.dtype.name}, expected {spec.dtype}"
    return "" if spec.fits(array.shape) else f"shape {list(array.shape)}, expected {list(spec.shape)}"
