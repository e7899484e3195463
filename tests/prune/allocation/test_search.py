"""The search finds what plain errors hide, within the budget and the rounds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from edgeopt.prune.allocation.dynamic import Option
from edgeopt.prune.allocation.search import search

_PARTS = {name: [Option(units, float(units), (4 - units) / 4) for units in range(5)] for name in "abcd"}


def test_a_part_that_matters_more_than_its_error_says_is_spared() -> None:
    def judge(chosen: Mapping[str, int]) -> float:
        return sum((4 - units) * (50 if name == "c" else 1) for name, units in chosen.items())

    found = search(_PARTS, 8.0, judge, rounds=100)
    assert found is not None and found.chosen["c"] == 4 and sum(found.chosen.values()) <= 8
    assert found.judged <= 100 and found.divergence == judge(found.chosen)


def test_one_round_is_the_smallest_sum_of_errors() -> None:
    found = search(_PARTS, 8.0, lambda chosen: 1.0, rounds=1)
    assert found is not None and found.judged == 1 and sum(found.chosen.values()) == 8
    assert search(_PARTS, -1.0, lambda chosen: 1.0, rounds=5) is None


def test_a_slow_machine_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ended after two minutes, so that what it found depended on what else was running."""

    def judge(chosen: Mapping[str, int]) -> float:
        return sum((4 - units) * (50 if name == "c" else 1) for name, units in chosen.items())

    fast = search(_PARTS, 8.0, judge, rounds=50)
    monkeypatch.setattr("time.monotonic", itertools.count(step=1000).__next__)
    assert search(_PARTS, 8.0, judge, rounds=50) == fast and fast is not None and fast.judged > 5
