"""Planted distributions: intervals cover at least as often as they promise."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from edgeopt.verdict.order_statistics import (
    Samples,
    binomial_cdf,
    effective_size,
    fewest_samples,
    quantile_bounds,
    quantile_interval,
)

_DRAWS = 1000


@pytest.mark.parametrize(("n", "q"), [(1, 0.5), (7, 0.9), (60, 0.01), (300, 0.95)])
def test_binomial_cdf_is_the_sum_of_its_terms(n: int, q: float) -> None:
    plain = np.cumsum([math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)])
    worst = np.abs(binomial_cdf(n, q) - plain).max()
    assert worst < 1e-12, f"largest error {worst}"


@pytest.mark.parametrize(("q", "n"), [(0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_fewest_samples_are_mlperfs(q: float, n: int) -> None:
    assert fewest_samples(q, 0.99) == n


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_an_upper_bound_exists_from_the_fewest_samples_on(q: float) -> None:
    n = fewest_samples(q, 0.975)
    rng = np.random.default_rng(3)
    # permutations without autocorrelation at the quantile are what "independent" means here
    enough = [quantile_bounds(rng.permutation(n).astype(float), q, 0.025)[1] is not None for _ in range(50)]
    fewer = [quantile_bounds(rng.permutation(n - 1).astype(float), q, 0.025)[1] is not None for _ in range(50)]
    assert any(enough) and not any(fewer)


@pytest.mark.parametrize("n", [10, 20, 54])
def test_no_p99_from_few_runs(n: int) -> None:
    assert quantile_interval(np.random.default_rng(0).lognormal(size=n), 0.99, 0.95) is None


def _lognormal(rng: np.random.Generator, n: int) -> Samples:
    return rng.lognormal(sigma=0.5, size=n)


def _two_modes(rng: np.random.Generator, n: int) -> Samples:
    return np.where(rng.random(n) < 0.8, rng.normal(6, 0.1, n), rng.normal(10, 0.3, n))


def _heavy_tail(rng: np.random.Generator, n: int) -> Samples:
    return 1 + rng.pareto(1.5, n)


def _ticks(rng: np.random.Generator, n: int) -> Samples:
    return np.ceil(rng.exponential(20, n))


@pytest.mark.parametrize("law", [_lognormal, _two_modes, _heavy_tail, _ticks])
@pytest.mark.parametrize(("q", "n"), [(0.5, 40), (0.9, 200), (0.95, 400)])
def test_intervals_cover_the_quantile_as_often_as_they_promise(
    law: Callable[[np.random.Generator, int], Samples], q: float, n: int
) -> None:
    rng = np.random.default_rng(11)
    truth = float(np.quantile(law(rng, 2_000_000), q))
    covered = given = 0
    for _ in range(_DRAWS):
        interval = quantile_interval(law(rng, n), q, 0.95)
        if interval is not None:
            given += 1
            covered += interval.low <= truth <= interval.high
    assert given > 0.9 * _DRAWS
    assert covered >= 0.95 * given - 2 * math.sqrt(given * 0.05 * 0.95), f"{covered} of {given}"


def _dependent(carry: float, n: int) -> Samples:
    """Return 1,000 series of n normal samples each of which keeps `carry` of the one before."""
    noise = np.random.default_rng(5).normal(size=(_DRAWS, n + 200))
    series = np.zeros_like(noise)
    for step in range(1, n + 200):
        series[:, step] = carry * series[:, step - 1] + math.sqrt(1 - carry**2) * noise[:, step]
    return series[:, 200:]


@pytest.mark.parametrize("carry", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("q", [0.5, 0.9])
def test_intervals_of_dependent_runs_are_wrong_no_more_often_than_they_promise(carry: float, q: float) -> None:
    truth = NormalDist().inv_cdf(q)
    intervals = [quantile_interval(samples, q, 0.95) for samples in _dependent(carry, 600)]
    wrong = sum(interval is not None and not interval.low <= truth <= interval.high for interval in intervals)
    given = sum(interval is not None for interval in intervals)
    assert wrong <= _DRAWS * 0.05 + 2 * math.sqrt(_DRAWS * 0.05 * 0.95), f"{wrong} of {_DRAWS}"
    assert given > 0.7 * _DRAWS  # where dependence leaves too few, none is given


def test_the_planted_dependence_would_fool_plain_order_statistics() -> None:
    ordered = np.sort(_dependent(0.9, 600), axis=1)
    assert np.mean((ordered[:, 275] <= 0) & (ordered[:, 324] >= 0)) < 0.6


def test_effective_size_of_independent_and_of_repeated_samples() -> None:
    rng = np.random.default_rng(2)
    assert effective_size(rng.normal(size=4000), 0.5) > 0.7 * 4000
    tenfold = effective_size(np.repeat(rng.normal(size=400), 10), 0.5)
    assert 200 < tenfold < 600
    assert effective_size(np.ones(100), 0.9) == 100
