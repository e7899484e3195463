"""The range of a weight with the least squared error, for each channel or for the whole tensor.

Weights are all at hand, so nothing is estimated: for a range of ±c the error is

    E(c) = Σ (w - s·clip(round(w / s), -L, L))²        s = c / L,   L = 2^(bits - 1) - 1

and every c out of a grid between 0.3 and 1 of the largest |w| is tried (as the search for a scale in Choukroun et al.,
https://arxiv.org/abs/1902.06822, section 3.1, here exhaustive). Where rounding finer gains less than clipping costs, as with
16 bits, the largest |w| wins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.quantize.affine import Grid, nearest, restored

_SHARES = np.linspace(0.3, 1.0, 71)

Floats = NDArray[np.float64]


def weight_limits(weight: NDArray[Any], axis: int | None, grid: Grid) -> Floats:
    """Return the c of each channel along `axis` (of the whole weight, [1], if it is None); 0 where all values are 0.

    Args:
        weight: of any shape.
        axis: of the channels that have a scale each.
        grid: its bits; it must be symmetric.

    Raises:
        ValueError: the grid is not symmetric.
    """
    if not grid.symmetric:
        raise ValueError("weights are quantized symmetrically")
    rows = weight.reshape(1, -1) if axis is None else np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    rows = rows.astype(np.float64)
    levels = grid.steps // 2
    largest = np.abs(rows).max(axis=1)
    best, least = largest.copy(), np.full(len(rows), np.inf)
    for share in _SHARES[::-1]:  # the widest first, so that it wins a tie
        step = np.where(largest > 0, largest * share / levels, 1.0)[:, None]
        rounded = restored(nearest(rows, step, 0, (-levels, levels)), step, 0)
        error = np.square(rows - rounded).sum(axis=1)
        better = error < least
        best, least = np.where(better, largest * share, best), np.where(better, error, least)
    return np.asarray(best, dtype=np.float64)
