"""Correlations against scipy's."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.tasks.correlation import correlations, ranks, spearman


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_both_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    x = generator.integers(0, 6, 80).astype(float)
    y = x + generator.standard_normal(80) * 2
    rank, linear = correlations(x, y)
    assert rank.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert linear.value == pytest.approx(stats.pearsonr(x, y).statistic)


def test_a_constant_has_no_correlation() -> None:
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0
