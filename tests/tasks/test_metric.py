"""Metrics: direction, points, texts, and values of samples drawn again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.tasks.metric import Metric, Scale, of_sums, share_of_right

ACCURACY = Metric("accuracy")


def test_points_are_lost_in_the_direction_of_the_metric() -> None:
    assert ACCURACY.points_lost(0.9, 0.88) == pytest.approx(2.0)
    assert Metric("WER", larger_is_better=False).points_lost(0.10, 0.13) == pytest.approx(3.0)
    perplexity = Metric("perplexity", Scale.RATIO, larger_is_better=False)
    assert perplexity.points_lost(20.0, 20.0 * math.exp(0.05)) == pytest.approx(5.0)
    assert perplexity.points_lost(20.0, 19.0) < 0


def test_a_share_is_printed_in_percent_and_others_as_they_are() -> None:
    assert ACCURACY.text(0.8918) == "89.18 %"
    assert Metric("Spearman", Scale.COEFFICIENT).text(0.8203) == "0.8203"


def test_rows_drawn_twice_count_twice() -> None:
    assert share_of_right(ACCURACY, np.array([True, False])).compute(np.array([0, 0, 1])) == pytest.approx(2 / 3)
    sums = of_sums(Metric("ratio"), np.array([[1.0, 2.0], [3.0, 4.0]]), lambda both: float(both[0] / both[1]))
    assert sums.value == pytest.approx(4 / 6)
    assert sums.compute(np.array([1, 1])) == pytest.approx(6 / 8)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="accuracy: there are no samples"):
        _ = share_of_right(ACCURACY, np.array([], bool)).value
