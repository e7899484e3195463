"""Planted warm-ups, trends and outliers."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.profile.steady import find_drift, find_outliers, find_steady


def _level(n: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return 10 * np.random.default_rng(seed).lognormal(sigma=0.02, size=n)


@pytest.mark.parametrize("length", [10, 40, 100])
def test_a_planted_warm_up_is_cut_off_where_it_ends(length: int) -> None:
    samples = _level(600)
    samples[:length] *= np.linspace(2.0, 1.15, length)
    found = find_steady(samples)
    assert found.reached and length - 5 <= found.start <= length + 30


def test_a_level_series_loses_next_to_nothing() -> None:
    starts = [find_steady(_level(600, seed)).start for seed in range(200)]
    assert np.mean(starts) < 5 and max(starts) <= 30


def test_one_outlier_neither_ends_nor_prolongs_the_warm_up() -> None:
    samples = _level(600)
    samples[3] = 500
    assert find_steady(samples).start <= 10


def test_a_series_that_keeps_falling_never_became_steady() -> None:
    assert not find_steady(_level(400) * np.linspace(3, 1, 400)).reached


def test_a_planted_drift_is_found_and_measured() -> None:
    drift = find_drift(_level(800) * np.linspace(1, 1.1, 800))
    assert drift.significant and 0.07 < drift.change < 0.12


def test_drift_is_not_seen_where_there_is_none() -> None:
    assert sum(find_drift(_level(300, seed)).significant for seed in range(200)) <= 2


def test_outliers_are_counted() -> None:
    samples = _level(500)
    samples[[10, 200, 499]] = 30
    assert find_outliers(samples).count == 3 and find_outliers(samples).waiting is None


def test_outliers_that_waited_are_told_from_those_that_computed() -> None:
    samples, own = _level(500), _level(500)
    samples[[10, 200, 499]] = 30
    own[200] = 29
    found = find_outliers(samples, own)
    assert (found.count, found.waiting) == (3, 2)


def test_cache_misses_of_a_model_of_microseconds_are_no_outliers() -> None:
    rng = np.random.default_rng(3)
    samples = 0.026 * (1 + 0.002 * rng.normal(size=20_000))
    samples[rng.random(20_000) < 0.18] *= 1.15
    assert find_outliers(samples).count == 0
