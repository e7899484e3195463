"""Channels as parts: which layers go together, which stay whole and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeopt.errors import ModelError, RecipeError
from edgeopt.prune.coupled import coupled_channels
from edgeopt.prune.structure.parts import Cut, Kind
from tests.prune.test_graphs import IMAGE, NETWORKS, Net, between, conv


def halves() -> Net:
    """Return a network whose first layer is halved, each half going through a layer of its own."""

    def forward(net: Net, image: torch.Tensor) -> torch.Tensor:
        first, second = torch.relu(net.first(image)).chunk(2, 1)
        return net.head(torch.relu(net.last(torch.relu(net.inner(second)) + net.other(first))).mean((2, 3)))

    return Net(forward, first=conv(1, 32), inner=conv(16, 16), other=conv(16, 16), last=conv(16, 16, 1), head=nn.Linear(16, 5))


def test_halves_of_a_chunk_go_together() -> None:
    parts = {part.name: part for part in coupled_channels(halves().eval(), IMAGE).parts}
    first = parts["first"]
    assert (first.kind, first.units) == (Kind.CHANNELS, 16)
    assert Cut("first", "out", 1, (0, 16)) in first.writers
    assert {(cut.layer, cut.starts, cut.kernel) for cut in first.readers} == {("inner", (0,), 9), ("other", (0,), 9)}


def test_halves_that_are_joined_again_are_read_by_probing() -> None:
    def forward(net: Net, image: torch.Tensor) -> torch.Tensor:  # C2f
        first, second = torch.relu(net.first(image)).chunk(2, 1)
        joined = torch.cat([first, second, second + torch.relu(net.inner(second))], 1)
        return net.head(torch.relu(net.last(joined)).mean((2, 3)))

    net = Net(forward, first=conv(1, 32), inner=conv(16, 16), last=conv(48, 16, 1), head=nn.Linear(16, 5))
    found = coupled_channels(net.eval(), IMAGE)
    part = next(part for part in found.parts if part.name == "first")
    assert part.units == 16 and not found.spared
    assert set(part.writers) == {Cut("first", "out", 1, (0, 16)), Cut("inner", "out", 1)}
    assert set(part.readers) == {Cut("inner", "in", 1, (0,), 9), Cut("last", "in", 1, (0, 16, 32))}


def test_what_cannot_be_probed_stays_as_the_graph_has_it() -> None:
    def forward(net: Net, image: torch.Tensor) -> torch.Tensor:
        first, second = torch.relu(net.first(input=image)).chunk(2, 1)  # by name, so that no hook sees what it is given
        joined = torch.cat([first, second, second + torch.relu(net.inner(second))], 1)
        return net.head(torch.relu(net.last(joined)).mean((2, 3)))

    net = Net(forward, first=conv(1, 32), inner=conv(16, 16), last=conv(48, 16, 1), head=nn.Linear(16, 5))
    found = coupled_channels(net.eval(), IMAGE)
    assert {part.name for part in found.parts} == {"last"} and "inner" in found.spared


def test_residual_writers_and_their_norms_are_one_part() -> None:
    net = Net(
        lambda net, image: net.head((net.norm(net.inner(x := net.first(image))) + x).mean((2, 3))),
        first=conv(1, 16),
        inner=conv(16, 16),
        norm=nn.BatchNorm2d(16),
        head=nn.Linear(16, 5),
    )
    (part,) = coupled_channels(net.eval(), IMAGE).parts
    assert {cut.layer for cut in part.writers} == {"first", "inner", "norm"}
    assert {cut.layer for cut in part.readers} == {"inner", "head"}


def test_a_flattened_channel_has_a_column_per_pixel() -> None:
    net = Net(
        lambda net, image: net.head(torch.relu(net.first(image)).flatten(1)), first=conv(1, 16), head=nn.Linear(16 * 64, 5)
    )
    (part,) = coupled_channels(net.eval(), IMAGE).parts
    assert part.readers == (Cut("head", "in", 64),)


@pytest.mark.parametrize("name", ["transposed", "depthwise", "instance norm", "slopes", "concatenated"])
def test_networks_whose_channels_stand_alone_have_parts(name: str) -> None:
    assert coupled_channels(NETWORKS[name]().eval(), IMAGE).parts


@pytest.mark.parametrize(
    ("layer", "said"),
    [(conv(16, 16, groups=4), "convolution of 4 groups"), (nn.GroupNorm(4, 16), "class GroupNorm")],
    ids=["groups", "norm over channels"],
)
def test_what_cannot_be_a_part_is_named(layer: nn.Module, said: str) -> None:
    found = coupled_channels(between(layer).eval(), IMAGE)
    assert said in " ".join(found.spared.values())
    assert all("layer" not in part.layers() for part in found.parts)


def test_sizes_written_out_are_found_by_running() -> None:
    net = Net(
        lambda net, image: net.head(functional.relu(net.first(image)).mean((2, 3)).view(-1, 16)),
        first=conv(1, 16),
        head=nn.Linear(16, 5),
    )
    with pytest.raises(ModelError, match="'first': the network does not give the same"):
        coupled_channels(net.eval(), IMAGE)


def test_a_pattern_to_ignore_must_match() -> None:
    assert "first" not in {part.name for part in coupled_channels(halves().eval(), IMAGE, ignore=["first"]).parts}
    with pytest.raises(RecipeError, match="'fist'"):
        coupled_channels(halves().eval(), IMAGE, ignore=["fist"])
