"""A metric, and its value on samples, kept sample by sample so that it has an interval and can be compared in pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import DataError
from edgeopt.metric import Metric, Scale

__all__ = ["RESAMPLES", "Measured", "Metric", "Rows", "Scale", "of_sums", "share_of_right"]

Rows = NDArray[np.int64]
RESAMPLES = 1000
"""How often units are drawn again; the 2.5 % quantile then rests on 25 of them."""


@dataclass(frozen=True)
class Measured:
    """A metric of one model on samples.

    Attributes:
        metric: which.
        count: number of units that can be drawn again: samples, or pairs of them.
        compute: gives the metric's value on rows (numbers of units, repeated ones count again).
        right: for each unit whether the answer is right, where the metric is the share of right answers; else None.
    """

    metric: Metric
    count: int
    compute: Callable[[Rows], float] = field(repr=False)
    right: NDArray[np.bool_] | None = field(default=None, repr=False)

    @cached_property
    def drawn(self) -> NDArray[np.float64]:
        """The metric on units drawn again with replacement, `RESAMPLES` times: the same units for all models of one count."""
        generator = np.random.default_rng(0)
        draws = (generator.integers(0, self.count, self.count) for _ in range(RESAMPLES))
        return np.array([self.compute(rows) for rows in draws], np.float64)

    @cached_property
    def value(self) -> float:
        """Return the metric on all units."""
        if not self.count:
            raise DataError(f"{self.metric.name}: there are no samples to measure it on")
        return self.compute(np.arange(self.count, dtype=np.int64))


def share_of_right(metric: Metric, right: NDArray[np.bool_]) -> Measured:
    """Return a metric that is the share of right answers."""
    return Measured(metric, len(right), lambda rows: float(right[rows].mean()), right)


def of_sums(metric: Metric, statistics: NDArray[np.float64], function: Callable[[NDArray[np.float64]], float]) -> Measured:
    """Return a metric that is a function of sums over units, such as F1 of true positives, found and wanted.

    Args:
        metric: which.
        statistics: of each unit, [units, numbers].
        function: gives the metric for summed statistics, [numbers].
    """
    return Measured(metric, len(statistics), lambda rows: function(statistics[rows].sum(axis=0)))
