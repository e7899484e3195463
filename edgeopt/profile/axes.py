"""Inputs of other sizes: a sample is stretched or cropped along the model's named axes.

A model states which axes are dynamic and which of them belong together (``input_ids`` and ``attention_mask`` share
``sequence``); some are sums (``past_sequence + sequence``). Samples that are too short are repeated from their start: the time
of a run depends on its shapes, hardly ever on its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Batch
from edgeopt.errors import RecipeError, nearest
from edgeopt.graph.batch_axes import batch_axes
from edgeopt.graph.signature import Signature


def free_axes(signature: Signature) -> list[str]:
    """Return the names of the dynamic axes, in the order of the inputs, without sums of others."""
    names = [axis for spec in signature.inputs for axis in spec.shape if isinstance(axis, str) and axis.isidentifier()]
    return list(dict.fromkeys(names))


def batch_axis(signature: Signature) -> str | None:
    """Return the name of the batch axis, None if it is fixed or absent."""
    axes = batch_axes(signature)
    named = ((spec.shape[axis]) for spec in signature.inputs if spec.ranked and (axis := axes[spec.name]) is not None)
    return next((size for size in named if isinstance(size, str)), None)


def check_axes(asked: Sequence[str], signature: Signature, *, model: str) -> None:
    """Raise an error for axes that are not dynamic.

    Raises:
        RecipeError: an axis is not dynamic; the message names the nearest one and all that are.
    """
    free = free_axes(signature)
    for name in asked:
        if name not in free:
            has = f"it has {', '.join(free)}" if free else "all its axes are fixed; export it with dynamic ones"
            raise RecipeError(f"sweep: {model} has no dynamic axis '{name}'{nearest(name, free)}; {has}")


def resize(batch: Batch, signature: Signature, sizes: Mapping[str, int]) -> Batch:
    """Return `batch` with the named axes at `sizes` and the other axes unchanged.

    Args:
        batch: arrays that fit `signature`.
        signature: of the model, with the names of axes.
        sizes: by axis name, at least 1 each.
    """
    now = {
        axis: np.asarray(batch[spec.name]).shape[place]
        for spec in signature.inputs
        for place, axis in enumerate(spec.shape)
        if isinstance(axis, str)
    }
    wanted = {**now, **sizes}
    resized = {}
    for spec in signature.inputs:
        array = np.asarray(batch[spec.name])
        for place, axis in enumerate(spec.shape):
            size = _size(axis, wanted) if isinstance(axis, str) else None
            if size is not None and size != array.shape[place]:
                array = _take(array, size, place)
        resized[spec.name] = array
    return resized


def _take(array: NDArray[Any], size: int, place: int) -> NDArray[Any]:
    have = array.shape[place]
    if have == 0:  # a cache that is still empty
        return np.zeros((*array.shape[:place], size, *array.shape[place + 1 :]), array.dtype)
    taken: NDArray[Any] = np.take(array, np.arange(size) % have, axis=place)
    return taken


def _size(axis: str, wanted: Mapping[str, int]) -> int | None:
    """Return the size of an axis named by a name or a sum of names and numbers; None: unknown."""
    terms = [term.strip() for term in axis.split("+")]
    if len(terms) == 1:
        return wanted.get(axis)
    sizes = [int(term) if term.isdecimal() else wanted.get(term) for term in terms]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
