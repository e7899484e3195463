"""End of the warm-up, drift and outliers.

Warm-up. Medians of five runs are compared with the band that holds 90 % of such medians in the second half of the series;
warm-up ends with the first one inside. So its length is detected instead of guessed, an outlier does not end or prolong it,
and a series without warm-up loses nothing. A series that only enters the band in its second half never became steady, and
says so.

Drift. Mann and Kendall's trend test on medians of equal stretches (H. B. Mann, Econometrica 13, 1945), which no outlier
moves, with the change over the series from the Theil-Sen slope.

Outliers are samples more than 5 robust standard deviations (1.4826 × the median absolute deviation) and more than half the
median above the median. The second rule is for models of microseconds: their runs repeat to 0.2 %, and without it every cache
miss counts (18 % of the runs of a model of 26 µs). A run in which the calling thread waited for the processor
for most of the excess is caused by the machine; one that computed, by the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeopt.verdict.order_statistics import Samples

_GROUP = 5
_SURE = 0.01
_NOTABLE_CHANGE = 0.02
_NOTABLE_EXCESS = 0.5


@dataclass(frozen=True)
class Steady:
    """The first run that counts, and whether a steady state was reached at all."""

    start: int
    reached: bool


@dataclass(frozen=True)
class Drift:
    """A trend over the whole series: `change` is relative to its median, `significant` both certain and notable."""

    change: float
    probability: float
    significant: bool


def find_steady(samples: Samples) -> Steady:
    """Return where the steady state of `samples` (shape [n], in order) begins."""
    groups = len(samples) // _GROUP
    if groups < 4:
        return Steady(start=0, reached=True)
    medians = np.median(samples[: groups * _GROUP].reshape(groups, _GROUP), axis=1)
    low, high = np.quantile(medians[groups // 2 :], [0.05, 0.95])
    inside = np.flatnonzero((medians >= low) & (medians <= high))
    first = int(inside[0]) if len(inside) else groups // 2
    return Steady(start=min(first, groups // 2) * _GROUP, reached=first < groups // 2)


def find_drift(samples: Samples, *, stretches: int = 40) -> Drift:
    """Test `samples` (shape [n], in order) for a trend."""
    if len(samples) < 20:
        return Drift(change=0.0, probability=1.0, significant=False)
    medians = np.array([np.median(part) for part in np.array_split(samples, min(stretches, len(samples) // 5))])
    n = len(medians)
    later, earlier = np.triu_indices(n, 1)[::-1]
    differences = medians[later] - medians[earlier]
    score = float(np.sign(differences).sum())
    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    probability = math.erfc(max(0.0, abs(score) - 1) / deviation / math.sqrt(2))
    slope = float(np.median(differences / (later - earlier)))
    change = slope * (n - 1) / float(np.median(medians))
    return Drift(change, probability, significant=probability < _SURE and abs(change) > _NOTABLE_CHANGE)


@dataclass(frozen=True)
class Outliers:
    """Number of outliers, and of those in which the thread waited for the processor; None: not reported."""

    count: int
    waiting: int | None


def find_outliers(samples: Samples, own: Samples | None = None) -> Outliers:
    """Count the outliers of `samples` (shape [n]); `own`, of the same shape, is the calling thread's processor time."""
    if not len(samples):
        return Outliers(0, None)
    median = np.median(samples)
    deviation = 1.4826 * np.median(np.abs(samples - median))
    late = samples > median + max(5 * deviation, _NOTABLE_EXCESS * median)
    if own is None or len(own) != len(samples):
        return Outliers(int(np.count_nonzero(late)), None)
    away = samples - own > (samples - median) / 2
    return Outliers(int(np.count_nonzero(late)), int(np.count_nonzero(late & away)))
