"""How many units may be left, what is said about budgets out of reach, and the weights of a choice."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.errors import ModelError
from edgeopt.prune.allocation.costs import Costs
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.choice import Trial, check_reachable, grid_of
from edgeopt.prune.coupled import coupled_channels
from edgeopt.prune.importance.levels import levels_of
from edgeopt.prune.losses import Judge, loss_for
from edgeopt.prune.structure.parts import Cut, Kind, Part, mask
from tests.prune.test_graphs import Net, conv

MODEL = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 8))


def part(kind: Kind, units: int) -> Part:
    return Part("0", kind, units, (Cut("0", "out", 64 // units),), (Cut("1", "in", 64 // units),))


def test_heads_go_one_by_one_and_channels_in_steps_down_to_a_share() -> None:
    assert grid_of(MODEL, [part(Kind.HEADS, 4)], 16)["0"] == [1, 2, 3]
    assert grid_of(MODEL, [part(Kind.HEADS, 64)], 16)["0"] == [1, *range(4, 64, 4)]  # (steps are for neurons and channels)
    assert grid_of(MODEL, [part(Kind.NEURONS, 64)], 16)["0"] == [1, 16, 32, 48]
    assert grid_of(MODEL, [part(Kind.CHANNELS, 64)], 16, most_removed=0.6)["0"] == [32, 48]


def test_out_of_reach_is_said_with_what_can_be_had() -> None:
    one = part(Kind.CHANNELS, 64)
    costs = Costs("ms", 1.0, lambda _, count: count / 16)
    check_reachable([one], costs, 3.0, fewest={"0": 32}, whole=5.0, asked="latency 0.6x")
    with pytest.raises(ModelError, match=r"3 ms are left of 5, 0\.600x, 0\.5 more than allowed.*max_layer_share"):
        check_reachable([one], costs, 2.5, fewest={"0": 32}, whole=5.0, asked="latency 0.5x")


def test_a_layer_that_reads_two_parts_is_fitted_for_both() -> None:
    torch.manual_seed(0)
    model = Net(
        lambda net, image: net.head(net.last(torch.relu(torch.cat([net.a(net.stem(image)), net.b(net.stem(image))], 1)))),
        stem=conv(1, 2),
        a=conv(2, 16),
        b=conv(2, 16),
        last=conv(32, 16),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)),
    ).eval()
    pixels = np.random.default_rng(1).random((48, 1, 8, 8)).astype(np.float32)
    samples = Samples(48, lambda index: {"image": pixels[index]}, None, "noise")
    parts = [part for part in coupled_channels(model, samples.collate([0, 1])).parts if part.name in {"a", "b"}]
    evidence = Evidence(model, samples, loss_for(samples))
    levels = levels_of(parts, evidence, importance="obs", grid={part.name: [8] for part in parts})
    trial = Trial(model, parts, levels, Judge(model, samples, power=True))
    errors = {chosen: trial(dict(zip("ab", chosen, strict=True))) for chosen in product((16, 8), repeat=2)}
    assert errors[16, 16] == 0 and min(errors[8, 16], errors[16, 8]) > 0  # whichever part comes last
    trial.restore()
    for one in parts:
        mask(model, one, levels[one.name][8].kept)
    assert 0 < errors[8, 8] < 0.3 * trial.judge()  # without any fit
