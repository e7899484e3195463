"""Accuracy lost on the same samples: counted, bounded, judged."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.verdict.accuracy_drop import AccuracyDrop, judge_drop
from edgeopt.verdict.budget import Budget


def test_only_samples_that_differ_count() -> None:
    before, now = np.array([1, 1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 1, 0, 1], bool)
    drop = AccuracyDrop.of(before, now)
    assert (drop.n, drop.lost, drop.gained) == (6, 2, 1)
    assert drop.points == pytest.approx(100 / 6)
    assert drop.accuracies == pytest.approx((400 / 6, 300 / 6))
    judged = judge_drop(Budget.parse("accuracy_drop<=20"), "v", drop)
    assert "(2 lost, 1 gained), from 66.67 to 50.00 %; " in judged.reason


@pytest.mark.parametrize(("n", "lost", "gained"), [(200, 0.02, 0.01), (800, 0.01, 0.01), (2000, 0.03, 0.005)])
def test_bounds_hold_as_often_as_they_promise(n: int, lost: float, gained: float) -> None:
    rng = np.random.default_rng(7)
    draws = rng.multinomial(n, [lost, gained, 1 - lost - gained], size=1000)
    truth = 100 * (lost - gained)
    bounds = [AccuracyDrop(n, int(one[0]), int(one[1])).bounds(0.95) for one in draws]
    above, below = (sum(low > truth for low, _ in bounds), sum(high < truth for _, high in bounds))
    assert max(above, below) <= 0.05 * 1000 + 2 * np.sqrt(1000 * 0.05 * 0.95), (above, below)


def test_verdicts_with_and_without_a_confidence() -> None:
    few, many = AccuracyDrop(800, 8, 5), AccuracyDrop(80_000, 800, 500)
    here, everywhere = Budget.parse("accuracy_drop<=0.5"), Budget.parse("accuracy_drop<=0.5 @95%")
    assert judge_drop(here, "v", few).verdict == "pass"  # 0.375 points on these samples
    assert judge_drop(everywhere, "v", few).verdict == "undecided"
    assert judge_drop(everywhere, "v", many).verdict == "pass"
    assert judge_drop(everywhere, "v", AccuracyDrop(800, 40, 5)).verdict == "fail"
    assert judge_drop(here, "v", 0.6).verdict == "fail" and judge_drop(here, "v", 0.6).value == 0.6
    missing = judge_drop(here, "v", None)
    assert missing.verdict == "undecided" and "labelled data" in missing.reason
