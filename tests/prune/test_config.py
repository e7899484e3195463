"""Options that exclude each other, and what the options of one of several rounds are."""

from __future__ import annotations

import pytest

from edgeopt.errors import RecipeError
from edgeopt.prune.config import PruneOptions


def read(**given: object) -> PruneOptions:
    return PruneOptions.read(given, where="options")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"macs": 0.5, "latency": "0.5x"}, "give one budget, not macs and latency"),
        ({"latency": "half"}, "write 5ms, or 0.5x"),
        ({"latency": "0ms"}, "write 5ms, or 0.5x"),
        ({"latency": "1.5x"}, "below 1x"),
        ({"latency": "5ms", "rounds": 2}, "a budget that is a share"),
        ({"drop_layers": 1, "rounds": 2}, "a budget that is a share"),
        ({"macs": 1.0}, "macs"),
        ({"sparsity": "4:2"}, "sparsity"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read(**given)


def test_a_budget_is_a_share_of_the_whole_or_a_number_of_its_own() -> None:
    assert read(latency="5ms").budget(8.0) == 5.0
    assert read(latency="0.5x").budget(8.0) == 4.0
    assert read(parameters=0.25).budget(100.0) == 25.0
    assert read().budget(100.0) == 50.0
    assert [read(**one).asked() for one in ({"latency": "5ms"}, {"parameters": 0.25}, {})] == [
        "latency 5ms",
        "parameters 0.25x",
        "macs 0.5x",
    ]


def test_without_a_budget_only_what_is_named_goes() -> None:
    assert read(drop_layers=2).without_budget
    assert read(sparsity=0.5).without_budget
    assert not read(drop_layers=2, macs=0.5).without_budget
    assert not read().without_budget


def test_rounds_multiply_to_the_budget() -> None:
    options = read(latency="0.25x", rounds=2, drop_layers=1)
    first, second = options.in_round(0), options.in_round(1)
    assert (first.latency, first.drop_layers) == ("0.500000x", 1)
    assert (second.latency, second.drop_layers, second.hidden) == ("0.500000x", 0, None)
    assert read().in_round(0) == read()
