"""Planted warm-ups, trends and outliers."""

from __future__ import annotations

import math

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


def in_fives(*medians: float, rest: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return five equal runs for each median, and `rest` runs of 99."""
    return np.array([value for value in medians for _ in range(5)] + [99.0] * rest)


@pytest.mark.parametrize(
    ("samples", "start", "reached"),
    [
        (in_fives(9, 5, 1, rest=4), 0, True),  # 19 runs are too few to say anything
        (in_fives(9, 1, 1, 1), 5, True),
        (in_fives(9, 5, 2, 1, 1, 1, 1, 1), 15, True),
        (in_fives(9, 5, 2, 1, 1, 1, 1, 1, rest=4), 15, True),  # what does not fill a group is not looked at
        (in_fives(9, 8, 7, 6, 1, 1, 1, 1), 20, False),  # steady from the middle on, which is not enough
        (in_fives(9, 9, 9, 9, 1, 2, 3, 4), 20, False),  # the band of the second half is 1.15 to 3.85
        (in_fives(9, 1.1, 9, 9, 1, 2, 3, 4), 20, False),
        (in_fives(9, 1.2, 9, 9, 1, 2, 3, 4), 5, True),
        (in_fives(9, 3.8, 9, 9, 1, 2, 3, 4), 5, True),
        (in_fives(9, 3.9, 9, 9, 1, 2, 3, 4), 20, False),
        (in_fives(9, 9, 1, 3), 10, False),  # no group at all is inside
    ],
)
def test_the_first_median_inside_the_band_ends_the_warm_up(samples, start: int, reached: bool) -> None:  # type: ignore[no-untyped-def]
    found = find_steady(samples)
    assert (found.start, found.reached) == (start, reached)


def test_a_trend_is_computed_as_mann_kendall_and_theil_sen() -> None:
    """By the definitions, in loops: S = Σ sign(later - earlier), z = (|S| - 1) / √(n(n-1)(2n+5)/18), the median slope."""
    for seed, count, parts in ((0, 200, 40), (1, 203, 40), (2, 100, 20), (3, 1000, 40)):
        samples = _level(count, seed) * np.linspace(1, 1.03, count)
        medians = [float(np.median(part)) for part in np.array_split(samples, parts)]
        pairs = [(i, j) for i in range(parts) for j in range(i)]
        score = sum(int(np.sign(medians[i] - medians[j])) for i, j in pairs)
        z = (abs(score) - 1) / math.sqrt(parts * (parts - 1) * (2 * parts + 5) / 18)
        slope = float(np.median([(medians[i] - medians[j]) / (i - j) for i, j in pairs]))
        found = find_drift(samples)
        assert found.probability == pytest.approx(math.erfc(z / math.sqrt(2)))
        assert found.change == pytest.approx(slope * (parts - 1) / float(np.median(medians)))


def rising(count: int, rise: float, stretches: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return `count` runs in equal stretches around 1, each higher than the last one, by `rise` over all."""
    return np.repeat(np.linspace(1 - rise / 2, 1 + rise / 2, stretches), count // stretches)


@pytest.mark.parametrize(
    ("samples", "significant"),
    [
        (rising(19, 1.0, 19), False),  # too few runs
        (rising(25, 1.0, 5), False),  # five medians in a row rise by chance once in 36
        (rising(30, 1.0, 6), True),  # six: once in 117
        (rising(400, 0.0203, 40), True),
        (rising(400, 0.0197, 40), False),  # sure, and not worth a word
        (rising(400, -0.0203, 40), True),
    ],
)
def test_a_drift_is_significant_where_it_is_both_certain_and_notable(samples, significant: bool) -> None:  # type: ignore[no-untyped-def]
    assert find_drift(samples).significant is significant


def test_equal_runs_have_no_trend() -> None:
    found = find_drift(np.ones(40))
    assert (found.change, found.probability, found.significant) == (0.0, 1.0, False)


def test_an_outlier_is_half_above_the_median_and_five_deviations() -> None:
    level = np.full(101, 10.0)
    for value, count in ((15.0, 0), (15.01, 1)):
        level[50] = value
        assert find_outliers(level).count == count
    spread = np.array([8.0] * 50 + [10.0] + [12.0] * 49)  # the median of the deviations is 2
    for value, count in ((10 + 5 * 1.4826 * 2 - 0.1, 0), (10 + 5 * 1.4826 * 2 + 0.1, 1)):
        assert find_outliers(np.append(spread, value)).count == count


def test_a_run_waited_if_more_than_half_of_its_excess_was_not_computed() -> None:
    samples = np.full(101, 10.0)
    samples[50] = 30.0
    own = np.full(101, 10.0)
    for computed, waiting in ((20.0, 0), (19.9, 1)):
        own[50] = computed
        assert find_outliers(samples, own).waiting == waiting
    assert find_outliers(samples, own[1:]).waiting is None  # of another series


def test_no_runs_have_no_outliers() -> None:
    found = find_outliers(np.empty(0), np.empty(0))
    assert (found.count, found.waiting) == (0, None)
