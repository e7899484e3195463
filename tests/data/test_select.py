"""Picking samples: shares of labels, coverage against an exhaustive search, seeds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edgeopt.data.select import radius, select

GENERATOR = np.random.default_rng(7)


@pytest.mark.parametrize("features", [None, GENERATOR.standard_normal((100, 3))], ids=["random", "coverage"])
def test_labels_keep_their_shares(features: np.ndarray | None) -> None:
    labels = np.repeat([3, 5, 9], [60, 30, 10])
    picked = select(20, np.arange(100), labels=labels, features=features)
    assert np.unique(labels[picked], return_counts=True)[1].tolist() == [12, 6, 2]
    assert len(set(picked.tolist())) == 20


def test_more_labels_than_picks_still_gives_all_picks() -> None:
    picked = select(7, np.arange(50), labels=np.arange(50) % 25, features=GENERATOR.standard_normal((50, 2)))
    assert len(set((picked % 25).tolist())) == 7


def test_coverage_is_within_twice_the_best() -> None:
    for seed in range(5):
        points = np.random.default_rng(seed).standard_normal((14, 2))
        best = min(radius(points, np.array(chosen)) for chosen in combinations(range(14), 3))
        got = radius(points, select(3, np.arange(14), labels=None, features=points, seed=seed))
        assert got <= 2 * best + 1e-6, f"radius {got:.3f}, the best {best:.3f}"


def test_each_pick_is_the_farthest_from_those_before() -> None:
    points = GENERATOR.standard_normal((40, 5))
    picked = select(10, np.arange(40), labels=None, features=points, seed=3)
    for number in range(1, 10):
        distances = np.min(np.linalg.norm(points[:, None] - points[None, picked[:number]], axis=2), axis=1)
        assert distances[picked[number]] == pytest.approx(distances.max(), rel=1e-4)


def test_equal_vectors_are_never_picked_twice() -> None:
    picked = select(8, np.arange(10, 20), labels=None, features=np.zeros((10, 4)))
    assert len(set(picked.tolist())) == 8
    assert set(picked.tolist()) <= set(range(10, 20))


def test_seeds_decide_and_repeat() -> None:
    def once(seed: int) -> list[int]:
        return select(5, np.arange(100), labels=None, seed=seed).tolist()

    assert once(1) == once(1) != once(2)
    assert select(500, np.arange(9), labels=None).tolist() != []
    assert sorted(select(500, np.arange(9), labels=None).tolist()) == list(range(9))
