"""One source becomes parts: disjoint, in the labels' shares, always the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.data.split import SHARES, split
from edgeopt.errors import DataError


def rows(samples: Samples) -> list[int]:
    return [int(samples[index]["x"]) for index in range(len(samples))]


def test_parts_are_disjoint_whole_stratified_and_seeded() -> None:
    labels = np.array([0] * 150 + [1] * 50)
    samples = from_arrays({"x": np.arange(200)}, labels)
    parts = split(samples, SHARES, seed=3)
    assert {name: len(part) for name, part in parts.items()} == {"train": 160, "calibration": 20, "evaluation": 20}
    assert sorted(row for part in parts.values() for row in rows(part)) == list(range(200))
    assert [int((part.labels == 1).sum()) for part in parts.values() if part.labels is not None] == [40, 5, 5]
    again, other = split(samples, SHARES, seed=3), split(samples, SHARES, seed=4)
    assert rows(again["evaluation"]) == rows(parts["evaluation"]) != rows(other["evaluation"])


def test_what_belongs_together_stays_together() -> None:
    samples = replace(from_arrays({"x": np.arange(40)}), group=2, annotations=list(range(40)))
    parts = split(samples, {"train": 0.5, "evaluation": 0.5})
    for part in parts.values():
        pairs = np.array(rows(part)).reshape(-1, 2)
        assert (pairs[:, 1] == pairs[:, 0] + 1).all()
        assert part.annotations == rows(part)


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(DataError, match="2 samples cannot be split into train, calibration, evaluation"):
        split(from_arrays({"x": np.arange(2)}), SHARES)
    assert [len(part) for part in split(from_arrays({"x": np.arange(3)}), SHARES).values()] == [1, 1, 1]
