"""Cuts of layers that pruning's own tests do not reach, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.models.kept import Kept, compose, narrow, width
from edgeopt.models.residual_cnn import ResidualCNN


def cut(layer: nn.Module, kept: dict[str, list[int]]) -> nn.Module:
    model = nn.Sequential(layer)
    narrow(model, {"0": kept})  # type: ignore[dict-item]
    return model[0]


def test_a_grouped_convolution_keeps_the_same_channels_of_each_group() -> None:
    torch.manual_seed(0)
    whole, layer = nn.Conv2d(8, 4, 3, groups=2), nn.Conv2d(8, 4, 3, groups=2)
    layer.load_state_dict(whole.state_dict())
    left = cut(layer, {"in": [0, 3, 4, 7], "out": [1, 2]})
    image = torch.zeros(1, 8, 5, 5)
    image[:, [0, 3, 4, 7]] = torch.rand(4, 5, 5)
    assert torch.allclose(left(image[:, [0, 3, 4, 7]]), whole(image)[:, [1, 2]], atol=1e-6)
    assert left.in_channels == 4 and left.out_channels == 2


@pytest.mark.parametrize(
    ("layer", "kept", "message"),
    [
        (nn.Conv2d(8, 4, 3, groups=2), {"in": [0, 3, 4, 5]}, "must be the same in each group"),
        (nn.Conv2d(8, 4, 3, groups=2), {"in": [0, 1, 2, 4]}, "as many in each group"),
        (nn.Conv2d(8, 4, 3, groups=2), {"out": [0, 1, 2]}, "as many in each group"),
        (nn.ConvTranspose2d(8, 4, 3, groups=2), {"out": [0, 2]}, "no side 'out'"),
        (nn.PReLU(), {"out": [0]}, "no side 'out'"),
        (nn.LayerNorm(4), {"in": [0]}, "no side 'in'"),
        (nn.LSTM(4, 4), {"out": [0]}, "no side 'out'"),
    ],
)
def test_cuts_that_a_layer_cannot_have_are_refused(layer: nn.Module, kept: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        cut(layer, kept)


def test_attention_is_cut_on_every_side_at_once() -> None:
    torch.manual_seed(0)
    left = cut(nn.MultiheadAttention(8, 2, batch_first=True), {"out": [0, 2, 5, 7]})
    x = torch.rand(1, 3, 4)
    assert left(x, x, x)[0].shape == (1, 3, 4)
    assert left.in_proj_weight.shape == (12, 4) and left.head_dim == 2  # type: ignore[union-attr]
    assert width(nn.MultiheadAttention(8, 2, kdim=4), "out") is None


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"gamma": {"axis3": [0]}}, "no side 'axis3'"),
        ({"gamma": {"axis0": [4]}}, "from 0 to 3"),
        ({"gamma": {"out": [0]}}, "no side"),
    ],
)
def test_a_parameter_has_the_axes_it_has(kept: Kept, message: str) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(4, 1, 1))

    model = Scaled()
    narrow(model, {"gamma": {"axis0": [1, 3]}})
    assert model.gamma.shape == (2, 1, 1)
    with pytest.raises(ModelError, match=message):
        narrow(Scaled(), kept)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"nothing": {"out": [0]}}, "no such layer"),
        ({"stem.0": {"out": [0, 0]}}, "different numbers from 0 to 3"),
        ({"stem.0": {"out": [2**70]}}, "a number is no channel"),
        ({"stem.0": {"out": [4]}}, "different numbers from 0 to 3"),
        ({"stem.0": {"out": []}}, "different numbers from 0 to 3"),
        ({"stem.1": {"in": [0]}}, "no side 'in'"),
        ({"stem.2": {"out": [0]}}, "no side 'out'"),
    ],
)
def test_kept_channels_that_do_not_fit_are_refused(kept: dict[str, dict[str, list[int]]], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        narrow(ResidualCNN(width=4), kept)  # type: ignore[arg-type]


def test_composed_cuts_are_one_cut() -> None:
    torch.manual_seed(0)
    twice, once = ResidualCNN(width=6), ResidualCNN(width=6)
    once.load_state_dict(twice.state_dict())
    first, then = {"head": {"in": [0, 2, 5, 7]}}, {"head": {"in": [1, 3]}, "stem.0": {"out": [0, 1, 5]}}
    narrow(twice, first)  # type: ignore[arg-type]
    narrow(twice, then)  # type: ignore[arg-type]
    composed = compose(first, then)  # type: ignore[arg-type]
    narrow(once, composed)
    assert composed["head"]["in"] == [2, 7]
    assert all(torch.equal(tensor, once.state_dict()[name]) for name, tensor in twice.state_dict().items())


def test_depthwise_convolutions_shrink_on_both_sides() -> None:
    layer = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 3, groups=6))
    narrow(layer, {"0": {"out": [1, 4]}})
    assert (layer[0].in_channels, layer[0].out_channels, layer[0].groups) == (2, 2, 2)
    assert layer(torch.zeros(1, 2, 5, 5)).shape == (1, 2, 3, 3)
