"""A small residual network for small images, after He et al. (2015), https://arxiv.org/abs/1512.03385, section 4.2.

    image ─ conv 3×3 ─ norm ─ relu ─┬─ conv ─ norm ─ relu ─ conv ─ norm ─ (+) ─ relu ─ … ─ mean over H, W ─ linear ─ logits
                                    └───────────────────────────────────────┘
Every stage after the first halves height and width and doubles the channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; a 1×1 convolution fits the shortcut where shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, channels_in, H, W] to [N, channels_out, H / stride, W / stride]."""
        inner = torch.relu(self.norm1(self.conv1(features)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


_MOST = {"channels": 4096, "classes": 2**20, "width": 4096, "stages": 12, "blocks": 256}


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if type(size) is not int or not 1 <= size <= _MOST[name]:
            raise ValueError(f"{name} is {size!r}; give a whole number from 1 to {_MOST[name]}")


class ResidualCNN(nn.Module):
    """Classify small images.

    Args:
        channels: channels of the image.
        classes: number of classes.
        width: channels of the first stage.
        stages: number of stages; each after the first halves the image and doubles the channels.
        blocks: residual blocks per stage.
    """

    def __init__(self, *, channels: int = 1, classes: int = 10, width: int = 32, stages: int = 2, blocks: int = 1) -> None:
        super().__init__()
        _check(channels=channels, classes=classes, width=width, stages=stages, blocks=blocks)
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        layers: list[nn.Module] = []
        channels_in = width
        for stage in range(stages):
            for block in range(blocks):
                channels_out = width * 2**stage
                layers.append(ResidualBlock(channels_in, channels_out, stride=2 if stage and not block else 1))
                channels_in = channels_out
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(channels_in, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Map float32 [N, channels, H, W] to logits [N, classes]."""
        features: Tensor = self.blocks(self.stem(image))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits
