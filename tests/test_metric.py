"""A metric's values, intervals and differences as verdicts and reports print them."""

from __future__ import annotations

import pytest

from edgeopt.interval import Interval
from edgeopt.metric import ACCURACY, Metric, Scale

SPEARMAN = Metric("Spearman", Scale.COEFFICIENT)
PERPLEXITY = Metric("perplexity", Scale.RATIO, larger_is_better=False)
WER = Metric("WER", larger_is_better=False)


@pytest.mark.parametrize(
    ("metric", "shown", "difference", "ends", "named"),
    [
        (ACCURACY, "82.0 % [80.1, 83.8]", "−1.04 points", "−2.10 to +0.07", ("accuracy (%)", "Accuracy")),
        (SPEARMAN, "0.8203 [0.8012, 0.8377]", "−0.0104", "−0.0210 to +0.0007", ("Spearman", "Spearman")),
        (PERPLEXITY, "0.8203 [0.8012, 0.8377]", "−0.0104", "−0.0210 to +0.0007", ("perplexity", "Perplexity")),
        (Metric("mIoU"), "82.0 % [80.1, 83.8]", "−1.04 points", "−2.10 to +0.07", ("mIoU (%)", "mIoU")),
    ],
)
def test_only_shares_are_percent(metric: Metric, shown: str, difference: str, ends: str, named: tuple[str, str]) -> None:
    assert metric.interval(Interval(0.8203, 0.8012, 0.8377, 0.95)) == shown
    assert metric.difference(-0.0104) == difference
    assert metric.ends(-0.021, 0.0007) == ends
    assert (metric.axis, metric.title) == named
    assert metric.plotted(0.5) == (50.0 if metric.scale is Scale.SHARE else 0.5)


def test_what_is_missing_is_a_dash_and_no_interval_is_none() -> None:
    assert SPEARMAN.interval(None) == ACCURACY.interval(None) == "–"
    assert SPEARMAN.interval(Interval(-0.5)) == "-0.5000"


@pytest.mark.parametrize("metric", [ACCURACY, SPEARMAN, PERPLEXITY, WER])
def test_a_merit_is_that_of_one_value(metric: Metric) -> None:
    assert metric.value(metric.merit(0.25)) == pytest.approx(0.25)


def test_what_is_gained_has_a_minus() -> None:
    assert (WER.signed(1.5), WER.signed(-1.5)) == ("1.50 points", "-1.50 points")
    assert PERPLEXITY.signed(PERPLEXITY.points_lost(20.0, 25.0)) == "25.0 %"


def test_points_are_lost_in_the_direction_that_is_worse() -> None:
    assert SPEARMAN.points_lost(0.82, 0.80) == pytest.approx(2.0)
    assert WER.points_lost(0.10, 0.12) == pytest.approx(2.0)
    assert PERPLEXITY.points_lost(20.0, 22.0) == pytest.approx(9.53, abs=0.01)
    assert PERPLEXITY.points_lost(20.0, 19.0) < 0
