"""A small network after MobileNetV3 for CIFAR-10: what integers find hard.

Howard et al. 2019, https://arxiv.org/abs/1905.02244, table 2: expansion, depthwise convolution, squeeze and excitation,
projection; hard-swish in all but the first three blocks. With one scale for each weight tensor the depthwise layers lose most
of what they know.

    edgeopt train benchmarks.quantize.mobilenet_v3:mobilenet_v3 --train "cifar10_jpeg.npz?split=train&preprocessing=…" …
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

_STEM, _LAST = 16, 288


@dataclass(frozen=True)
class _Row:
    """One block: width inside and behind it, kernel, stride, function, squeeze and excitation."""

    inside: int
    out: int
    kernel: Literal[3, 5] = 3
    stride: int = 1
    swish: bool = True
    squeeze: bool = True


_ROWS = (
    _Row(16, 16, swish=False),
    _Row(72, 24, stride=2, swish=False, squeeze=False),
    _Row(88, 24, swish=False, squeeze=False),
    _Row(96, 40, kernel=5, stride=2),
    _Row(240, 40, kernel=5),
    _Row(120, 48, kernel=5),
    _Row(144, 48, kernel=5),
)


class _Squeeze(nn.Module):
    """Channels times a gate in [0, 1] that their means decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [N, C, H, W], scaled by channel."""
        gate = torch.relu(self.down(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.up(gate))


class _Block(nn.Module):
    """An inverted residual."""

    def __init__(self, before: int, row: _Row) -> None:
        super().__init__()
        function = nn.Hardswish if row.swish else nn.ReLU
        self.layers = nn.Sequential(
            *_convolution(before, row.inside, 1),
            function(),
            *_convolution(row.inside, row.inside, row.kernel, row.stride, groups=row.inside),
            function(),
            *([_Squeeze(row.inside)] if row.squeeze else []),
            *_convolution(row.inside, row.out, 1),
        )
        self.kept = row.stride == 1 and before == row.out

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        inner: Tensor = self.layers(x)
        return x + inner if self.kept else inner


class MobileNetV3(nn.Module):
    """0.15 million parameters, 9.7 million multiply-accumulates for 32 × 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        widths = [_STEM, *(row.out for row in _ROWS)]
        self.features = nn.Sequential(
            *_convolution(3, _STEM, 3),
            nn.Hardswish(),
            *(_Block(before, row) for before, row in zip(widths, _ROWS, strict=False)),
            *_convolution(widths[-1], _LAST, 1),
            nn.Hardswish(),
        )
        self.head = nn.Linear(_LAST, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [N, 10] of images [N, 3, 32, 32]."""
        logits: Tensor = self.head(self.features(image).mean((2, 3)))
        return logits


def mobilenet_v3() -> nn.Module:
    """Return the network with random weights, always the same."""
    torch.manual_seed(0)
    return MobileNetV3()


def _convolution(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
