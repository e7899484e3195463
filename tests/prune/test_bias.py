"""Biases make up for the mean of what went, in the layer itself or in the batch normalisation behind it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.prune.bias import Offset, bias_of, bias_places, set_bias
from edgeopt.prune.channel_parts import prune_channel_parts
from edgeopt.prune.choice import Setting
from tests.prune.test_channel_parts import images, options
from tests.prune.test_graphs import Net, conv

IMAGE = {"image": np.random.default_rng(0).random((4, 1, 8, 8)).astype(np.float32)}


def normalised(*, bias: bool, size: int = 3) -> Net:
    torch.manual_seed(0)
    net = Net(
        lambda net, image: net.head(torch.relu(net.norm(net.last(torch.relu(net.first(image))))).mean((2, 3))),
        first=conv(1, 16),
        last=conv(16, 16, size, bias=bias),
        norm=nn.BatchNorm2d(16),
        head=nn.Linear(16, 5),
    ).eval()
    with torch.no_grad():
        net.norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr,operator]
        net.norm.weight.uniform_(0.5, 2.0)  # type: ignore[union-attr,operator]
    return net


def test_the_bias_is_the_layers_own_or_that_of_the_normalisation_behind_it() -> None:
    assert bias_places(normalised(bias=True), ["first", "last"], IMAGE) == {"first": "first", "last": "last"}
    assert bias_places(normalised(bias=False), ["last", "head"], IMAGE) == {"last": "norm", "head": "head"}


def test_normalisations_of_a_shared_layer_and_a_shared_normalisation_have_no_place() -> None:
    levels = Net(
        lambda net, image: net.fine(net.last(image)) + net.coarse(net.last(image)),
        last=conv(1, 4, bias=False),
        fine=nn.BatchNorm2d(4),
        coarse=nn.BatchNorm2d(4),
    )
    shared = Net(
        lambda net, image: net.norm(net.first(image)) + net.norm(net.last(image)),
        first=conv(1, 4, bias=False),
        last=conv(1, 4, bias=False),
        norm=nn.BatchNorm2d(4),
    )
    assert bias_places(levels, ["last"], IMAGE) == bias_places(shared, ["first", "last"], IMAGE) == {}


@pytest.mark.parametrize("bias", [True, False])
def test_a_constant_that_weights_lose_is_added_to_the_bias(bias: bool) -> None:
    net = normalised(bias=bias)
    offset = Offset(torch.arange(16 * 9).double() / 100, bias_places(net, ["last"], IMAGE)["last"])
    given = offset.mean.float().reshape(1, 16, 3, 3)
    last, norm = net.last, net.norm
    assert isinstance(last, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)

    def middle() -> torch.Tensor:
        with torch.no_grad():
            return norm(last(given))[0, :, 1, 1]

    before = middle()
    change = torch.randn(16, 16 * 9)
    with torch.no_grad():
        last.weight += change.reshape(last.weight.shape)
    set_bias(net, offset, bias_of(net, offset), change)
    assert middle().tolist() == pytest.approx(before.tolist(), abs=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_channels_that_hardly_vary_go_without_a_loss(bias: bool) -> None:
    net = normalised(bias=bias, size=1)
    with torch.no_grad():
        net.first.weight[8:] *= 0.001  # type: ignore[union-attr,index,operator]
        net.first.bias[8:] = torch.linspace(1, 8, 8)  # type: ignore[union-attr,index,operator]
    image = torch.from_numpy(images().collate(range(8))["image"])
    with torch.no_grad():
        before = net(image)
    prune_channel_parts(net, images(96), options=options(macs=0.52, ignore=["head"]), setting=Setting(step=8))
    assert net.first.out_channels == 8  # type: ignore[union-attr]
    with torch.no_grad():
        assert float((net(image) - before).norm() / before.norm()) < 0.02  # type: ignore[operator,union-attr]
