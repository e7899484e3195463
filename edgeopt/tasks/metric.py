"""A metric, and its value on samples, kept sample by sample so that it has an interval and can be compared in pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import DataError

Rows = NDArray[np.int64]
RESAMPLES = 1000
"""How often units are drawn again; the 2.5 % quantile then rests on 25 of them."""
_LEAST = 1e-12  # a metric whose logarithm is taken


class Scale(StrEnum):
    """What the values of a metric mean, and so what a point of it is."""

    SHARE = "share"
    """0 to 1, printed in percent; a point is 0.01."""
    COEFFICIENT = "coefficient"
    """-1 to 1, such as a correlation; a point is 0.01."""
    RATIO = "ratio"
    """Positive without an upper bound, such as a perplexity; a point is one percent of the value."""


@dataclass(frozen=True)
class Metric:
    """Name, direction and scale of a metric."""

    name: str
    scale: Scale = Scale.SHARE
    larger_is_better: bool = True

    def merit(self, value: float) -> float:
        """Return a number that is larger for a better model; 0.01 of it is a point."""
        plain = math.log(max(value, _LEAST)) if self.scale is Scale.RATIO else value
        return plain if self.larger_is_better else -plain

    def points_lost(self, before: float, after: float) -> float:
        """Return the points that `after` is worse than `before`; negative: it is better."""
        return 100 * (self.merit(before) - self.merit(after))

    def text(self, value: float) -> str:
        """Return a value as people read it: a share in percent, others as they are."""
        return f"{100 * value:.2f} %" if self.scale is Scale.SHARE else f"{value:.4f}"


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
