"""The residual network: its shapes, its number of parameters, its shortcut, and sizes that are refused."""

from __future__ import annotations

import pytest
import torch

from edgeopt.models.residual_cnn import ResidualBlock, ResidualCNN


def test_each_stage_after_the_first_halves_the_image_and_doubles_the_channels() -> None:
    model = ResidualCNN(channels=3, classes=7, width=4, stages=3, blocks=2).eval()
    features = model.stem(torch.rand(2, 3, 16, 12))
    shapes = []
    for block in model.blocks:
        features = block(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(4, 16, 12)] * 2 + [(8, 8, 6)] * 2 + [(16, 4, 3)] * 2
    assert model(image=torch.rand(2, 3, 16, 12)).shape == (2, 7)


def test_the_number_of_parameters_is_that_of_its_layers() -> None:
    stem = 4 * 9 + 8
    first = 2 * (4 * 4 * 9 + 8)
    second = (8 * 4 * 9 + 16) + (8 * 8 * 9 + 16) + (8 * 4 + 16)  # two convolutions and the shortcut's
    head = 8 * 10 + 10
    assert sum(weight.numel() for weight in ResidualCNN(width=4).parameters()) == stem + first + second + head


def test_a_block_without_weights_returns_its_input_rectified() -> None:
    block = ResidualBlock(3, 3, stride=1).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    image = torch.randn(1, 3, 4, 4)
    assert torch.equal(block(image), image.clamp(min=0))


@pytest.mark.parametrize(("channels", "stride"), [(3, 2), (5, 1), (5, 2)])
def test_the_shortcut_is_projected_only_where_shapes_differ(channels: int, stride: int) -> None:
    block = ResidualBlock(3, channels, stride=stride).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    image = torch.randn(1, 3, 4, 4)
    projected = torch.relu(block.shortcut(image))
    assert torch.equal(block(image), projected) and projected.shape == (1, channels, 4 // stride, 4 // stride)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"channels": 0}, "channels is 0; give a whole number from 1 to 4096"),
        ({"classes": 2**20 + 1}, "classes is 1048577; give a whole number from 1 to 1048576"),
        ({"stages": 13}, "stages is 13; give a whole number from 1 to 12"),
        ({"blocks": True}, "blocks is True; give a whole number from 1 to 256"),
        ({"width": 4.0}, "width is 4.0; give a whole number from 1 to 4096"),
    ],
)
def test_sizes_that_no_network_has_are_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ResidualCNN(**sizes)
