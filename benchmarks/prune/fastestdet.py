"""FastestDet (https://github.com/dog-qiuqiu/FastestDet): ShuffleNetV2, one map of 22 × 22 cells, weights from EDGEOPT_DATA.

`edgeopt prune benchmarks.prune.fastestdet:fastestdet …` reads the data folder from EDGEOPT_DATA. Modules are named as those of
the authors are, whose state it loads.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

_STAGES = ((24, 48, 4), (48, 96, 8), (96, 192, 4))


def _layers(before: int, after: int, size: int = 1, *, stride: int = 1, groups: int = 1, relu: bool = True) -> list[nn.Module]:
    """Return a convolution, its normalisation and its activation."""
    convolution = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(after), *([nn.ReLU()] if relu else [])]


class Shuffle(nn.Module):
    """Every second channel goes through the block, the others past it; with a stride all go both ways."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        width = after // 2
        self.stride = stride
        self.branch_main = nn.Sequential(
            *_layers(before, width),
            *_layers(width, width, 3, stride=stride, groups=width, relu=False),
            *_layers(width, width if stride == 2 else after - before),
        )
        if stride == 2:
            apart = _layers(before, before, 3, stride=2, groups=before, relu=False)
            self.branch_proj = nn.Sequential(*apart, *_layers(before, before))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        past, through = (self.branch_proj(x), x) if self.stride == 2 else (x[:, ::2], x[:, 1::2])
        return torch.cat((past, self.branch_main(through)), 1)


class Backbone(nn.Module):
    """ShuffleNetV2 with the outputs of its three stages."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_layers(3, 24, 3, stride=2))
        for number, (before, after, count) in enumerate(_STAGES, 2):
            blocks = [Shuffle(before, after, 2), *(Shuffle(after // 2, after, 1) for _ in range(count - 1))]
            setattr(self, f"stage{number}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return maps of strides 8, 16 and 32."""
        x = functional.max_pool2d(self.first_conv(x), 3, 2, 1)
        found = []
        for number in range(2, 2 + len(_STAGES)):
            x = self.get_submodule(f"stage{number}")(x)
            found.append(x)
        return found


class Pointwise(nn.Module):
    """A 1 × 1 convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_layers(before, after))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return self.conv1x1(x)  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """One, two and three depthwise convolutions of 5 × 5 beside each other."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.Conv1x1 = Pointwise(before, width)
        for count in (1, 2, 3):
            stack = [layer for _ in range(count) for layer in _layers(width, width, 5, groups=width)]
            setattr(self, f"S{count}", nn.Sequential(*stack))
        self.output = nn.Sequential(*_layers(3 * width, width, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        x = self.Conv1x1(x)
        joined = torch.cat([self.get_submodule(f"S{count}")(x) for count in (1, 2, 3)], 1)
        return torch.relu(x + self.output(joined))


class Branch(nn.Module):
    """A separable convolution of 5 × 5."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(*_layers(before, before, 5, groups=before), *_layers(before, after, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions."""
        return self.conv5x5(x)  # type: ignore[no-any-return]


class Head(nn.Module):
    """Objectness, box and classes of every cell."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = Pointwise(width, width)
        self.obj_layers, self.reg_layers, self.cls_layers = Branch(width, 1), Branch(width, 4), Branch(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, 5 + classes, h, w]."""
        x = self.conv1x1(x)
        return torch.cat((self.obj_layers(x).sigmoid(), self.reg_layers(x), self.cls_layers(x).softmax(1)), 1)


class FastestDet(nn.Module):
    """The detector, for images of 352 × 352, BGR, 0 to 1."""

    def __init__(self, classes: int = 80, width: int = 96) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.SPP = Pyramid(sum(after for _, after, _ in _STAGES), width)
        self.detect_head = Head(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return [N, 5 + classes, 22, 22]."""
        fine, middle, coarse = self.backbone(images)
        coarse = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        pooled = functional.avg_pool2d(fine, 3, 2, 1)
        found: Tensor = self.detect_head(self.SPP(torch.cat((pooled, middle, coarse), 1)))
        return found


def fastestdet() -> nn.Module:
    """Return FastestDet with the authors' weights."""
    folder = Path(os.environ["EDGEOPT_DATA"]) / "fastestdet"
    network = FastestDet()
    network.load_state_dict(torch.load(next(folder.glob("*.pth")), map_location="cpu", weights_only=True))
    return network.eval()
