"""Intervals of a metric, and paired comparisons of two models on the same samples.

Two models that are evaluated on the same 1,821 sentences agree on most of them, so their difference is known far better than
either figure. Where an answer is right or wrong, only the samples on which one of the two is right count:

    p = P(at least this uneven | lost + gained, ½)    McNemar's exact test (1947, https://doi.org/10.1007/BF02295996)

and the interval of the difference is that of `edgeopt.verdict.accuracy_drop`. Any other metric (F1, AP, a correlation, a
perplexity) is computed again on samples drawn with replacement, the same ones for both models (Efron and Tibshirani 1993, An
Introduction to the Bootstrap, chapters 13 and 16); the percentiles of the differences are the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import DataError
from edgeopt.interval import Interval
from edgeopt.tasks.metric import RESAMPLES, Measured
from edgeopt.tasks.paired import Paired
from edgeopt.verdict.accuracy_drop import AccuracyDrop, MetricDrop


@dataclass(frozen=True)
class Proportion:
    """A share of samples with its confidence interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, count: int, confidence: float) -> Proportion:
    """Return successes / count with its score interval (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Proportion(share, max(0.0, centre - half), min(1.0, centre + half))


def interval(measured: Measured, confidence: float) -> Interval:
    """Return the metric with its confidence interval: Wilson's for a share of right answers, else the bootstrap's."""
    value = measured.value
    if measured.right is not None:
        share = wilson(int(measured.right.sum()), measured.count, confidence)
        return Interval(share.value, share.low, share.high, confidence)
    low, high = bounds(measured.drawn, confidence)
    return Interval(value, min(low, value), max(high, value), confidence)


def drop(before: Measured, after: Measured) -> AccuracyDrop | MetricDrop:
    """Return what `after` loses compared with `before` on the same samples, for budgets and verdicts."""
    _check(before, after)
    if before.right is not None and after.right is not None:
        return AccuracyDrop.of(before.right, after.right)
    metric = before.metric
    resampled = tuple(metric.points_lost(old, new) for old, new in zip(before.drawn, after.drawn, strict=True))
    return MetricDrop(
        before.count, metric.name, before.value, after.value, metric.points_lost(before.value, after.value), resampled
    )


def paired(before: Measured, after: Measured, *, changed: int, confidence: float) -> Paired:
    """Compare two models on the same samples.

    Args:
        before: the model that is compared with.
        after: the other.
        changed: number of answers that differ.
        confidence: of the interval.
    """
    _check(before, after)
    difference = after.value - before.value
    if before.right is not None and after.right is not None:
        counts = AccuracyDrop.of(before.right, after.right)
        low, high = difference_bounds(counts.lost, counts.gained, before.count, confidence)
        p = mcnemar(counts.lost, counts.gained)
        return Paired(difference, low, high, p, changed, before.count, "mcnemar", counts.lost, counts.gained)
    drawn = after.drawn - before.drawn
    low, high = bounds(drawn, confidence)
    share = min(float((drawn <= 0).mean()), float((drawn >= 0).mean()))
    p = min(1.0, 2 * (share * RESAMPLES + 1) / (RESAMPLES + 1))  # never 0: one more draw could have been on the other side
    return Paired(difference, low, high, p, changed, before.count, "bootstrap")


def difference_bounds(lost: int, gained: int, count: int, confidence: float) -> tuple[float, float]:
    """Return the interval of the difference of two shares of right answers to the same `count` samples."""
    low, high = AccuracyDrop(count, lost, gained).bounds(0.5 + confidence / 2)
    return -high / 100, -low / 100


def mcnemar(lost: int, gained: int) -> float:
    """Return the two-sided p-value of McNemar's exact test for samples on which only one of two models is right."""
    count, fewer = lost + gained, min(lost, gained)
    if lost == gained:
        return 1.0
    logs = [math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(math.exp(value - count * math.log(2)) for value in logs))


def _check(before: Measured, after: Measured) -> None:
    if before.count != after.count or before.metric != after.metric:
        raise DataError(
            f"{before.metric.name} on {before.count} samples and {after.metric.name} on {after.count}: no pairs to compare"
        )


def bounds(drawn: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the percentile interval of values on units drawn again; NaN where none is finite."""
    finite = drawn[np.isfinite(drawn)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
