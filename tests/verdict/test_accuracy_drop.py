"""Accuracy lost on the same samples: counted, bounded, judged."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.metric import Metric, Scale
from edgeopt.verdict.accuracy_drop import AccuracyDrop, MetricDrop, judge_drop, judge_lost, judge_output_error
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


def test_the_interval_is_agresti_and_mins() -> None:
    # n = 98 + 2, lost 6 + 0.5, gained 1 + 0.5: centre 5 %, variance (8 % - 0.25 %) / 100, z of 97.5 % is 1.95996
    low, high = AccuracyDrop(98, 6, 1).bounds(0.975)
    half = 1.959963985 * np.sqrt((0.08 - 0.0025) / 100)
    assert (low, high) == pytest.approx((100 * (0.05 - half), 100 * (0.05 + half)))


def test_what_is_not_known_is_not_said() -> None:
    unknown, known = AccuracyDrop(50, 3, 1), AccuracyDrop(50, 3, 1, baseline=40)
    assert unknown.accuracies is None and (unknown.metric, unknown.value_text) == ("accuracy", "not known")
    assert known.accuracies == pytest.approx((80, 76)) and known.value_text == "76.00 %"
    assert ", from " not in judge_drop(Budget.parse("accuracy_drop<=20"), "v", unknown).reason


def test_a_metric_has_the_quantiles_of_its_resamples() -> None:
    drop = MetricDrop(30, "F1", 81.25, 79.75, 1.5, tuple(float(value) for value in range(101)))
    assert drop.bounds(0.95) == pytest.approx((5, 95))
    assert (drop.metric, drop.value_text) == ("F1", "79.75")
    judged = judge_drop(Budget.parse("accuracy_drop<=1.5"), "v", drop)
    assert judged.verdict == "pass" and judged.value == 1.5
    assert judged.reason.startswith(
        "1.5 points of F1 on 30 samples, from 81.25 to 79.75; 5.00 to 95.00 on all samples like these, 95 %"
    )
    surely = [judge_drop(Budget.parse(f"accuracy_drop<={most} @90%"), "v", drop).verdict for most in (9, 50, 91)]
    assert surely == ["fail", "undecided", "pass"]


def test_a_drop_without_samples_is_judged_as_it_is() -> None:
    budget = Budget.parse("accuracy_drop<=0.5 @95%")
    assert [judge_drop(budget, "v", points).verdict for points in (0.5, 0.51, -1)] == ["pass", "fail", "pass"]
    assert judge_drop(budget, "v", 1).reason == "it is 1 points"


@pytest.mark.parametrize(
    ("after", "verdict", "moved"),
    [
        (0.885, "fail", "loses 1.50 points of accuracy"),
        (0.89, "pass", "loses 1.00 points of accuracy"),
        (0.89 - 1e-12, "pass", "loses 1.00 points of accuracy"),  # float64's own digits
        (0.89 - 1e-10, "fail", "loses 1.00 points of accuracy"),
        (0.9, "pass", "loses nothing"),
        (0.9025, "pass", "gains 0.25 points of accuracy"),
    ],
)
def test_what_a_model_may_lose(after: float, verdict: str, moved: str) -> None:
    judged = judge_lost("int8", "fp32", Metric("accuracy"), (0.9, after), allowed_points=1.0)
    assert judged.state == verdict
    assert judged.reason == f"int8 {moved} against fp32 (1 allowed): {100 * after:.2f} % after 90.00 %"


def test_a_ratio_is_lost_in_percent() -> None:
    metric = Metric("perplexity", Scale.RATIO, larger_is_better=False)
    judged = judge_lost("int4", "fp32", metric, (42.0, 46.2), allowed_points=9.0)
    assert judged.state == "fail"  # 10 % are 9.53 hundredths of the logarithm
    assert judged.reason == "int4 is 10.0 % worse in perplexity against fp32 (9.4 % allowed): 46.2000 after 42.0000"
    assert "is 10.0 % better in perplexity" in judge_lost("b", "a", metric, (50.0, 45.0), allowed_points=0.0).reason


def test_an_output_may_err_by_what_is_allowed() -> None:
    verdicts = [judge_output_error("int8", "boxes", error, allowed=0.1).state for error in (0.1, 0.1001, 0.0)]
    assert verdicts == ["pass", "fail", "pass"]
    assert judge_output_error("int8", "boxes", 0.25, allowed=0.1).reason.endswith("error of 25.00% (10.00% allowed)")
