"""How many units may be left, and what is said about budgets out of reach."""

from __future__ import annotations

import pytest
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.prune.allocation.costs import Costs
from edgeopt.prune.choice import check_reachable, grid_of
from edgeopt.prune.structure.parts import Cut, Kind, Part

MODEL = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 8))


def part(kind: Kind, units: int) -> Part:
    return Part("0", kind, units, (Cut("0", "out", 64 // units),), (Cut("1", "in", 64 // units),))


def test_heads_go_one_by_one_and_channels_in_steps_down_to_a_share() -> None:
    assert grid_of(MODEL, [part(Kind.HEADS, 4)], 16)["0"] == [1, 2, 3]
    assert grid_of(MODEL, [part(Kind.NEURONS, 64)], 16)["0"] == [1, 16, 32, 48]
    assert grid_of(MODEL, [part(Kind.CHANNELS, 64)], 16, most_removed=0.6)["0"] == [32, 48]


def test_out_of_reach_is_said_with_what_can_be_had() -> None:
    one = part(Kind.CHANNELS, 64)
    costs = Costs("ms", 1.0, lambda _, count: count / 16)
    check_reachable([one], costs, 3.0, fewest={"0": 32}, whole=5.0, asked="latency 0.6x")
    with pytest.raises(ModelError, match=r"3 ms are left of 5, 0\.600x, 0\.5 more than allowed.*max_layer_share"):
        check_reachable([one], costs, 2.5, fewest={"0": 32}, whole=5.0, asked="latency 0.5x")
