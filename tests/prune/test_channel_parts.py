"""Channels removed as parts: the budget holds, readers are fitted, and the kept indices rebuild the network."""

from __future__ import annotations

import copy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.errors import ModelError
from edgeopt.models.kept import narrow
from edgeopt.models.load import load_model
from edgeopt.models.size import macs
from edgeopt.prune.allocation.layer_costs import layer_mac_costs
from edgeopt.prune.channel_parts import prune_channel_parts
from edgeopt.prune.choice import Setting
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.stage import PruneSession, prune
from tests.prune.test_coupled import halves
from tests.prune.test_graphs import Net, conv


def images(count: int = 24) -> Samples:
    pixels = np.random.default_rng(1).random((count, 1, 8, 8)).astype(np.float32)
    return Samples(count, lambda index: {"image": pixels[index]}, None, "noise")


def options(**given: object) -> PruneOptions:
    return PruneOptions.read({"importance": "obs", "search_rounds": 4, **given}, where="test")


def test_the_budget_holds_and_kept_indices_rebuild_the_network() -> None:
    torch.manual_seed(0)
    model = halves().eval()
    whole = copy.deepcopy(model)
    sample = images().collate([0])
    done = prune_channel_parts(model, images(), options=options(macs=0.6), setting=Setting(step=2))
    assert macs(model, sample) <= 0.6 * macs(whole, sample)
    assert model.first.out_channels == 2 * model.inner.in_channels  # type: ignore[union-attr,operator]
    narrow(whole, done.shape.kept)
    assert [value.shape for value in whole.parameters()] == [value.shape for value in model.parameters()]


def test_readers_make_up_for_channels_that_others_repeat() -> None:
    torch.manual_seed(0)
    model = Net(
        lambda net, image: net.head(torch.relu(net.last(torch.relu(net.first(image)))).mean((2, 3))),
        first=conv(1, 16),
        last=conv(16, 16),
        head=nn.Linear(16, 5),
    ).eval()
    with torch.no_grad():
        model.first.weight[8:] = model.first.weight[:8]  # type: ignore[union-attr,index,operator]
        model.first.bias[8:] = model.first.bias[:8]  # type: ignore[union-attr,index,operator]
    image = torch.from_numpy(images().collate(range(8))["image"])
    before = model(image)
    prune_channel_parts(model, images(96), options=options(macs=0.52, ignore=["head"]), setting=Setting(step=8))
    assert model.first.out_channels == 8  # type: ignore[union-attr]
    assert float((model(image) - before).detach().norm() / before.detach().norm()) < 0.05


def test_room_that_steps_leave_in_the_budget_is_given_back() -> None:
    torch.manual_seed(0)
    model = Net(
        lambda net, image: net.head(net.c(net.b(net.a(image))).mean((2, 3))),
        a=conv(1, 32),
        b=conv(32, 32),
        c=conv(32, 32),
        head=nn.Linear(32, 5),
    ).eval()
    sample = images().collate([0])
    whole = macs(model, sample)
    prune_channel_parts(model, images(), options=options(macs=0.6), setting=Setting(step=16))
    assert 0.45 < macs(model, sample) / whole <= 0.6  # one layer is halved, not all three


def test_an_impossible_budget_says_what_can_be_reached() -> None:
    with pytest.raises(ModelError, match=r"cannot be reached.*give at least 0\.\d\dx, or raise max_layer_share"):
        prune_channel_parts(halves().eval(), images(), options=options(macs=0.01), setting=Setting(step=2))


def test_a_latency_that_is_measured_above_what_is_left_says_what_was_measured() -> None:
    def latency_of(model: nn.Module) -> float:
        return macs(model, images().collate([0])) * 100.0

    def costs_of(model: nn.Module, parts: object, _: object) -> object:
        return layer_mac_costs(model, parts, images().collate([0]))  # type: ignore[arg-type]

    setting = Setting(costs_of, step=2)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"0\.7x was not reached: .* were measured, .* are allowed; give at least \d+\.\d\dx"):
        prune_channel_parts(halves().eval(), images(), options=options(latency="0.7x"), setting=setting, latency_of=latency_of)


def test_a_latency_is_measured_again_on_the_network_that_was_chosen() -> None:
    seen: list[int] = []

    def latency_of(model: nn.Module) -> float:
        seen.append(macs(model, images().collate([0])))
        return seen[-1] * 1.3  # slower than the sum of its layers

    def costs_of(model: nn.Module, parts: object, _: object) -> object:
        return layer_mac_costs(model, parts, images().collate([0]))  # type: ignore[arg-type]

    setting = Setting(costs_of, step=2)  # type: ignore[arg-type]
    model = halves().eval()
    whole = macs(model, images().collate([0]))
    prune_channel_parts(model, images(), options=options(latency="0.7x"), setting=setting, latency_of=latency_of)
    assert seen[-1] * 1.3 <= 0.7 * whole and len(seen) >= 2


def test_a_budget_holds_with_the_same_share_of_every_layer_and_is_used() -> None:
    model = deep()
    sample = images().collate([0])
    whole = macs(model, sample)
    done = prune_channel_parts(model, images(), options=options(macs=0.5, scope="layer"), setting=Setting(step=2))
    assert 0.4 < macs(model, sample) / whole <= 0.5
    assert done.allocation.planned == macs(model, sample)


def test_a_budget_that_is_reached_by_narrow_layers_alone_is_reached() -> None:
    model = deep()
    sample = images().collate([0])
    whole = macs(model, sample)
    prune_channel_parts(model, images(), options=options(macs=0.1), setting=Setting(step=2))
    assert macs(model, sample) <= 0.1 * whole


def deep() -> Net:
    torch.manual_seed(0)
    return Net(
        lambda net, image: net.head(torch.relu(net.c(torch.relu(net.b(torch.relu(net.a(image)))))).mean((2, 3))),
        a=conv(1, 32),
        b=conv(32, 32),
        c=conv(32, 32),
        head=nn.Linear(32, 5),
    ).eval()


@pytest.mark.parametrize("readable", [True, False])
def test_a_latency_is_met_by_cost_and_by_magnitude_where_no_channels_can_be_parts(
    readable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` for a network that is no transformer."""
    monkeypatch.setitem(sys.modules, "nets_by_cost", types.SimpleNamespace(make=halves))  # type: ignore[arg-type]
    asked = []

    def costs_of(model: nn.Module, parts: object, _: object) -> object:
        asked.append(parts)
        if not readable:
            raise ModelError("its layers cannot be timed")
        return layer_mac_costs(model, parts, images().collate([0]))  # type: ignore[arg-type]

    session = PruneSession(costs_of=costs_of, latency_of=lambda model: macs(model, images().collate([0])), step=2)  # type: ignore[arg-type]
    model, teacher = (load_model("nets_by_cost:make") for _ in range(2))
    whole = macs(model.module, images().collate([0]))
    given = PruneOptions.read({"latency": "0.7x", "search_rounds": 2, "recovery": "fit"}, where="test")
    done = prune(model, teacher, images(), output=tmp_path / "out", options=given, session=session)
    assert macs(model.module, images().collate([0])) <= 0.7 * whole
    assert len(asked) == 1
    assert done.allocation is not None and (done.allocation.judged == 6) == (not readable), "six shares are tried by bisection"
