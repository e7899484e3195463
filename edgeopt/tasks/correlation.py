"""Correlations of Pearson and of Spearman."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeopt.tasks.metric import Measured, Metric, Scale

SPEARMAN = Metric("Spearman", Scale.COEFFICIENT)
PEARSON = Metric("Pearson", Scale.COEFFICIENT)


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the linear correlation of two rows of numbers; 0 where one of them is constant."""
    a, b = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the correlation of ranks; equal numbers share the mean of their ranks."""
    return pearson(ranks(x), ranks(y))


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks from 1, the mean for equal numbers."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group])


def correlations(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[Measured, Measured]:
    """Return Spearman's and Pearson's correlation of two rows of numbers."""
    return (
        Measured(SPEARMAN, len(found), lambda rows: spearman(found[rows], wanted[rows])),
        Measured(PEARSON, len(found), lambda rows: pearson(found[rows], wanted[rows])),
    )
