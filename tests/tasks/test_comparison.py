"""Intervals of metrics, and paired comparisons: against published values and planted differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.tasks.comparison import drop, interval, mcnemar, paired, wilson
from edgeopt.tasks.metric import Metric, of_sums, share_of_right
from edgeopt.verdict.accuracy_drop import AccuracyDrop, MetricDrop

ACCURACY, F1 = Metric("accuracy"), Metric("F1")


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (500, 1000, 0.4691, 0.5309)],
)
def test_wilsons_interval_is_the_published_one(successes: int, count: int, low: float, high: float) -> None:
    interval = wilson(successes, count, 0.95)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-4)
    assert interval.value == successes / count


def test_wilsons_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(0)
    for truth in (0.5, 0.9, 0.98):
        hits = generator.binomial(400, truth, 2000)
        covered = np.mean([wilson(int(hit), 400, 0.95).low <= truth <= wilson(int(hit), 400, 0.95).high for hit in hits])
        assert covered > 0.93, f"truth {truth}: covered {covered:.3f}"


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (0, 6), (3, 9), (40, 60), (500, 420)])
def test_mcnemars_exact_test_is_the_binomial_sum(lost: int, gained: int) -> None:
    count = lost + gained
    plain = min(1.0, 2 * sum(math.comb(count, k) for k in range(min(lost, gained) + 1)) / 2**count)
    assert mcnemar(lost, gained) == pytest.approx(plain, rel=1e-9)


def test_right_answers_are_paired_by_sample() -> None:
    before, after = np.array([1, 1, 1, 1, 0, 0, 1, 1], bool), np.array([1, 0, 0, 1, 1, 0, 1, 0], bool)
    found = paired(share_of_right(ACCURACY, before), share_of_right(ACCURACY, after), changed=5, confidence=0.95)
    assert (found.lost, found.gained, found.changed, found.samples, found.method) == (3, 1, 5, 8, "mcnemar")
    assert found.difference == pytest.approx(-0.25)
    assert found.low < -0.25 < found.high
    assert found.p_value == pytest.approx(2 * (1 + 4) / 16)
    assert isinstance(drop(share_of_right(ACCURACY, before), share_of_right(ACCURACY, after)), AccuracyDrop)


def _f1(counts: np.ndarray) -> float:
    return float(2 * counts[0] / (counts[1] + counts[2]))


def test_a_metric_of_sums_is_resampled_in_pairs() -> None:
    generator = np.random.default_rng(3)
    wanted = generator.integers(1, 5, 400)
    good = np.minimum(wanted, generator.binomial(wanted, 0.9))
    worse = generator.binomial(good, 0.95)  # the same sentences: what is lost is lost of the right ones
    models = [of_sums(F1, np.stack([hits, wanted, wanted], axis=1).astype(float), _f1) for hits in (good, worse)]
    alone = interval(models[0], 0.95)
    found = paired(models[0], models[1], changed=20, confidence=0.95)
    assert found.method == "bootstrap"
    assert found.difference == pytest.approx(worse.sum() / wanted.sum() - good.sum() / wanted.sum())
    assert found.low < found.difference < found.high < 0
    assert alone.low is not None and alone.high is not None
    assert found.high - found.low < alone.high - alone.low, "pairs know the difference better than either figure is known"
    lost = drop(models[0], models[1])
    assert isinstance(lost, MetricDrop)
    low, high = lost.bounds(0.95)
    assert low < lost.points < high
    assert lost.points == pytest.approx(-100 * found.difference)


def test_a_bootstrapped_interval_covers_the_truth() -> None:
    generator, hits = np.random.default_rng(5), 0
    for _ in range(60):
        sample = generator.poisson(2.0, (150, 1)).astype(float)
        found = interval(of_sums(Metric("rate"), np.hstack([sample, np.ones_like(sample)]), lambda s: float(s[0] / s[1])), 0.9)
        assert found.low is not None and found.high is not None
        hits += found.low <= 2.0 <= found.high
    assert hits >= 48, f"{hits} of 60 intervals at 90 % hold the truth"


def test_models_on_other_samples_cannot_be_paired() -> None:
    with pytest.raises(DataError, match="no pairs to compare"):
        drop(share_of_right(ACCURACY, np.ones(3, bool)), share_of_right(ACCURACY, np.ones(4, bool)))
