"""Batches of named arrays, the data that flows between stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Batch = Mapping[str, Array]
"""Arrays by model input name; the first axis of each is the batch."""


class Batches(Protocol):
    """Batches that can be iterated repeatedly; a list of dicts is one."""

    def __len__(self) -> int:
        """Return the number of batches."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches, each time in the same order."""
        ...


def concatenate(parts: list[Array], *, pad: float = 0) -> Array:
    """Stack arrays (one sample each, no batch axis), padding ragged axes at their end with `pad`.

    Args:
        parts: arrays of equal rank and dtype; shapes may differ.
        pad: padding value.

    Returns:
        An array of shape [len(parts), …longest of each axis].
    """
    shapes = {part.shape for part in parts}
    if len(shapes) == 1:
        return np.stack(parts)
    longest = tuple(int(size) for size in np.max([part.shape for part in parts], axis=0))
    stacked = np.full((len(parts), *longest), pad, dtype=parts[0].dtype)
    for row, part in zip(stacked, parts, strict=True):
        row[tuple(slice(0, size) for size in part.shape)] = part
    return stacked
