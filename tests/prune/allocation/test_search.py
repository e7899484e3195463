"""The search finds what plain errors hide, within the budget and the rounds."""

from __future__ import annotations

from collections.abc import Mapping

from edgeopt.prune.allocation.dynamic import Option
from edgeopt.prune.allocation.search import search

_PARTS = {name: [Option(units, float(units), (4 - units) / 4) for units in range(5)] for name in "abcd"}


def test_a_part_that_matters_more_than_its_error_says_is_spared() -> None:
    def judge(chosen: Mapping[str, int]) -> float:
        return sum((4 - units) * (50 if name == "c" else 1) for name, units in chosen.items())

    found = search(_PARTS, 8.0, judge, rounds=100, seconds=30)
    assert found is not None and found.chosen["c"] == 4 and sum(found.chosen.values()) <= 8
    assert found.judged <= 100 and found.divergence == judge(found.chosen)


def test_one_round_is_the_smallest_sum_of_errors() -> None:
    found = search(_PARTS, 8.0, lambda chosen: 1.0, rounds=1, seconds=30)
    assert found is not None and found.judged == 1 and sum(found.chosen.values()) == 8
    assert search(_PARTS, -1.0, lambda chosen: 1.0, rounds=5, seconds=30) is None
