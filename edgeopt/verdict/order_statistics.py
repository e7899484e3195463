"""Quantiles with intervals that assume no distribution.

Idea. Latencies are not normal: they are skewed, have several modes and long tails. But whatever their distribution, the
number of samples below its q-quantile is Binomial(n, q). So the l-th and u-th smallest samples enclose that quantile with
confidence

    P(x_(l) <= quantile <= x_(u)) = P(l <= Binomial(n, q) <= u - 1)

(David & Nagaraja, Order Statistics, 3rd ed., section 7.1). Where n is too small for an upper bound that leaves one sample
above itself, there is no interval and no figure: `fewest_samples` says how many are needed (MLPerf Inference's early
stopping rule with one outlier allowed: p90 64, p95 130, p99 662 at confidence 0.99).

Runs follow each other and share what disturbs them, so they are worth fewer than n independent ones. `effective_size`
divides n by the integrated autocorrelation time of the indicator [x <= quantile], summed over Geyer's initial positive
sequence (Statistical Science 7(4), 1992, section 3.3); the ranks are those of the effective size. Dependence over
more than a fortieth of the series (40 runs, or a tenth, in a short one) is a drift, which is reported as one (see steady) and
not hidden in wider intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

_LONGEST = 80  # two lags per pair: a fortieth of the series
_SHORT_SERIES = 20  # pairs, or a tenth of the series, whichever is less


@dataclass(frozen=True)
class QuantileInterval:
    """An estimate and the bounds that hold it with the confidence asked for."""

    value: float
    low: float
    high: float


def binomial_cdf(n: int, q: float) -> Samples:
    """Return P(Binomial(n, q) <= k) for k = 0 … n, shape [n + 1]."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    log_choose = log_factorial[n] - log_factorial - log_factorial[::-1]
    pmf = np.exp(log_choose + k * math.log(q) + (n - k) * math.log1p(-q))
    cdf: Samples = np.minimum(np.cumsum(pmf), 1.0)
    return cdf


@cache
def _ranks(n: int, q: float, tail: float) -> tuple[int, int]:
    """Return the 1-based ranks (l, u) of one-sided bounds with error `tail` each; l = 0 or u = n + 1: there is none."""
    cdf = binomial_cdf(n, q)
    low = int(np.searchsorted(cdf, tail, side="right"))  # the largest l with P(B <= l - 1) <= tail
    high = int(np.searchsorted(cdf, 1 - tail, side="left")) + 1  # the smallest u with P(B <= u - 1) >= 1 - tail
    return low, high


def quantile_bounds(samples: Samples, q: float, tail: float) -> tuple[float | None, float | None]:
    """Return one-sided lower and upper bounds of the q-quantile, each wrong with probability `tail` at most.

    None: there are too few samples for a bound that leaves one sample outside itself.

    Args:
        samples: shape [n], in the order they were taken.
        q: 0 < q < 1.
        tail: 0 < tail < 0.5.
    """
    n = len(samples)
    m = math.floor(effective_size(samples, q))
    if m < 2:
        return None, None
    ordered = np.sort(samples)
    low, high = _ranks(m, q, tail)
    lower = float(ordered[math.ceil((low - 1) * n / m)]) if low >= 2 else None
    upper = float(ordered[math.floor(high * n / m) - 1]) if high <= m - 1 else None
    return lower, upper


def quantile_interval(samples: Samples, q: float, confidence: float) -> QuantileInterval | None:
    """Return the q-quantile of `samples` (in the order they were taken) with its interval, or None if they are too few."""
    low, high = quantile_bounds(samples, q, (1 - confidence) / 2)
    if low is None or high is None:
        return None
    return QuantileInterval(value=float(np.quantile(samples, q)), low=low, high=high)


@cache
def fewest_samples(q: float, confidence: float) -> int:
    """Return the fewest independent samples that bound the q-quantile from above (one-sided), one outlier allowed."""
    n = 2
    while q**n + n * (1 - q) * q ** (n - 1) > 1 - confidence:
        n += 1
    return n


def effective_size(samples: Samples, q: float) -> float:
    """Return the number of independent samples that `samples` are worth for their q-quantile; at most their number."""
    n = len(samples)
    if n < 8:
        return float(n)
    below = (samples <= np.quantile(samples, q)).astype(np.float64)
    below -= below.mean()
    variance = float(below @ below)
    if variance == 0.0:
        return float(n)
    spectrum = np.fft.rfft(below, 2 * n)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), 2 * n)[:n] / variance
    pairs = correlation[0 : n - n % 2 : 2] + correlation[1:n:2]
    pairs = pairs[: max(1, n // _LONGEST, min(n // 20, _SHORT_SERIES))]
    ends = np.flatnonzero(pairs <= 0)
    time = 2 * float(pairs[: ends[0] if len(ends) else len(pairs)].sum()) - 1
    return n / max(1.0, time)
