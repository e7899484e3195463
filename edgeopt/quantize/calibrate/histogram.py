"""A histogram that needs no range beforehand: one bin for each pattern of the upper 16 bits of a float32.

Those 16 bits are the value's bfloat16 truncation: sign, exponent, 7 bits of mantissa. So there are 65,536 bins, spaced
logarithmically, each at most 1/128 of its value wide, and zero has a bin of its own. It follows that
- one pass is enough: no first pass for the range, nothing kept but the counts (512 KiB), for any number of samples;
- two histograms merge by addition, exactly, so calibration can be sharded or resumed;
- shapes may differ from sample to sample, since only values count.
Percentiles, entropy and squared errors for any number of bits are read off afterwards (`ranges.py`). Within a bin the values
are taken as evenly spread.

`numpy.bincount` over the strided uint16 view converts to int64 on its way; in chunks that stay in the cache it costs about
2 ns a value, a third of `numpy.histogram`. Most tensors occupy a tenth of the bins, since their values span few powers of two:
only pages of bins that hold something are added to, so that the others never take memory.

Where there are many samples, not all values of each need be counted: every k-th is then, k times, with k coprime to the size
of the array, so that each column and channel has its turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
_CHUNK = 1 << 17  # values counted at a time; their int64 copies fill 1 MiB, which stays in the second-level cache
_PAGE = 512  # bins: 4 KiB, what the system gives memory by
_UPPER = 1 if np.little_endian else 0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Masses:
    """The occupied bins in ascending order: `count` values lie in [`low`, `high`), evenly spread."""

    low: Floats
    high: Floats
    count: Floats

    @cached_property
    def edges(self) -> Floats:
        """The lower ends of the bins, and the upper ones, as two rows."""
        return np.stack((self.low, self.high))

    @cached_property
    def density(self) -> Floats:
        """The values per unit of width; 0 in bins without width, which hold zero alone."""
        width = self.high - self.low
        return np.where(width > 0, self.count / np.where(width > 0, width, 1.0), 0.0)


class Histogram:
    """Counts of values by their bfloat16 pattern."""

    def __init__(self, counts: NDArray[np.int64] | None = None) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64) if counts is None else counts

    def add(self, values: NDArray[Any], *, enough: int | None = None) -> None:
        """Count the elements of a floating-point array of any shape, or `enough` of them; no NaN, no infinities."""
        flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
        step = 1 if enough is None else _step(flat.size, enough)
        patterns = flat.view(np.uint16)[_UPPER :: 2 * step]
        for start in range(0, patterns.size, _CHUNK):
            self._add(np.bincount(patterns[start : start + _CHUNK], minlength=BINS), times=step)

    def merge(self, other: Histogram) -> None:
        """Add the counts of `other`."""
        self._add(other.counts)

    def _add(self, counts: NDArray[np.int64], *, times: int = 1) -> None:
        pages = counts.reshape(-1, _PAGE)
        occupied = np.flatnonzero(pages.max(axis=1))
        self.counts.reshape(-1, _PAGE)[occupied] += pages[occupied] * times

    def masses(self) -> Masses:
        """Return the occupied bins as intervals of the real line, ascending."""
        order, low, high = _intervals()
        count = self.counts[order]
        occupied = count > 0
        return Masses(low[occupied], high[occupied], count[occupied].astype(np.float64))


@cache
def _step(size: int, enough: int) -> int:
    """Return the largest step, coprime to `size`, with which at least `enough` of `size` values are counted."""
    return next(step for step in range(max(size // enough, 1), 0, -1) if math.gcd(step, size) == 1)


@cache
def _intervals() -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return the patterns in ascending order of value with the interval [low, high) of each; non-finite ones are left out."""
    patterns = np.arange(BINS, dtype=np.uint32)
    with np.errstate(invalid="ignore"):  # some patterns are NaN
        near = (patterns << 16).view(np.float32).astype(np.float64)  # the end of the bin next to zero
        far = ((patterns << 16) | 0xFFFF).view(np.float32).astype(np.float64)
    near[[0, 0x8000]] = far[[0, 0x8000]] = 0.0  # zero and the smallest denormals: exactly zero
    low, high = np.minimum(near, far), np.maximum(near, far)
    finite = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    order = finite[np.argsort(low[finite], kind="stable")]
    return order, low[order], high[order]
