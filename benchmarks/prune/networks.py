"""Networks of the rows: PyTorch modules that take the weights which the data folder has under other forms.

    resnet20(), resnet56()      CIFAR-10, option-A shortcuts (He et al. 2015, section 4.2); weights from safetensors
    yolox_nano()                YOLOX-nano (https://arxiv.org/abs/2107.08430); weights from the ONNX file, norms folded

`edgeopt prune benchmarks.prune.networks:resnet56 …` reads the data folder from EDGEOPT_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

_WIDTHS = ((16, 16, 1), (16, 32, 2), (32, 64, 2))


class Block(nn.Module):
    """Two convolutions and a shortcut that pads channels with zeros where their number doubles."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.pad = stride, (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return torch.relu(inner + x)


class ResNet(nn.Module):
    """ResNet of 6 n + 2 layers for images of 32 × 32."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for number, (before, after, stride) in enumerate(_WIDTHS, 1):
            blocks = [Block(before, after, stride), *(Block(after, after, 1) for _ in range(depth - 1))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [N, 10] of images [N, 3, 32, 32]."""
        x = torch.relu(self.bn1(self.conv1(image)))
        for number in range(len(_WIDTHS)):
            x = self.get_submodule(f"layer{number + 1}")(x)
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def resnet20() -> nn.Module:
    """Return ResNet-20 with the weights in EDGEOPT_DATA."""
    return load_resnet(ResNet(3), _data() / "cifar10_resnets" / "resnet20.safetensors")


def resnet56() -> nn.Module:
    """Return ResNet-56 with the weights in EDGEOPT_DATA."""
    return load_resnet(ResNet(9), _data() / "cifar10_resnets" / "resnet56.safetensors")


def load_resnet(network: ResNet, weights: Path) -> nn.Module:
    """Return the network with the weights of a file, in evaluation mode."""
    network.load_state_dict(load_file(weights))
    return network.eval()


class Conv(nn.Module):
    """A convolution with SiLU after it."""

    def __init__(self, before: int, after: int, size: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, size // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        return functional.silu(self.conv(x))


def separable(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """Return a depthwise convolution of 3 × 3 and one of 1 × 1."""
    return nn.Sequential(Conv(before, before, 3, stride, groups=before), Conv(before, after))


class Bottleneck(nn.Module):
    """1 × 1, separable 3 × 3, and an optional shortcut."""

    def __init__(self, width: int, *, shortcut: bool) -> None:
        super().__init__()
        self.conv1, self.conv2, self.shortcut = Conv(width, width), separable(width, width), shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.conv2(self.conv1(x))
        return y + x if self.shortcut else y


class CrossStage(nn.Module):
    """Half of the channels go through bottlenecks, the other half past them (CSP)."""

    def __init__(self, before: int, after: int, count: int = 1, *, shortcut: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Conv(before, after // 2), Conv(before, after // 2), Conv(after, after)
        self.m = nn.Sequential(*(Bottleneck(after // 2, shortcut=shortcut) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the stage's output."""
        first, second = self.conv1(x), self.conv2(x)
        joined: Tensor = self.conv3(torch.cat((self.m(first), second), 1))
        return joined


class Pooled(nn.Module):
    """Maxima over windows of 5, 9 and 13 (SPP)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv(width, width // 2), Conv(width * 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features."""
        x = self.conv1(x)
        joined: Tensor = self.conv2(torch.cat([x, *(functional.max_pool2d(x, size, 1, size // 2) for size in (5, 9, 13))], 1))
        return joined


class Head(nn.Module):
    """Predictions of one stride: boxes, objectness, classes."""

    def __init__(self, before: int, width: int = 64, classes: int = 80) -> None:
        super().__init__()
        self.stem = Conv(before, width)
        self.cls_convs = nn.Sequential(separable(width, width), separable(width, width))
        self.cls_pred = nn.Conv2d(width, classes, 1)
        self.reg_convs = nn.Sequential(separable(width, width), separable(width, width))
        self.reg_pred, self.obj_pred = nn.Conv2d(width, 4, 1), nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, 85, cells]."""
        x = self.stem(x)
        classes = self.cls_pred(self.cls_convs(x)).sigmoid()
        x = self.reg_convs(x)
        return torch.cat((self.reg_pred(x), self.obj_pred(x).sigmoid(), classes), 1).flatten(2)


class YoloxNano(nn.Module):
    """YOLOX-nano for images of 416 × 416."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(12, 16, 3)
        self.dark2 = nn.Sequential(separable(16, 32, 2), CrossStage(32, 32, 1, shortcut=True))
        self.dark3 = nn.Sequential(separable(32, 64, 2), CrossStage(64, 64, 3, shortcut=True))
        self.dark4 = nn.Sequential(separable(64, 128, 2), CrossStage(128, 128, 3, shortcut=True))
        self.dark5 = nn.Sequential(separable(128, 256, 2), Pooled(256), CrossStage(256, 256))
        self.lateral, self.c3_p4 = Conv(256, 128), CrossStage(256, 128)
        self.reduce, self.c3_p3 = Conv(128, 64), CrossStage(128, 64)
        self.down2, self.c3_n3 = separable(64, 64, 2), CrossStage(128, 128)
        self.down1, self.c3_n4 = separable(128, 128, 2), CrossStage(256, 256)
        self.heads = nn.ModuleList([Head(64), Head(128), Head(256)])

    def forward(self, images: Tensor) -> Tensor:
        """Return rows [N, 3549, 85]: offsets, objectness, classes; of images [N, 3, 416, 416] of 0 to 255."""
        rows, odd = images[..., ::2, :], images[..., 1::2, :]
        corners = (rows[..., ::2], odd[..., ::2], rows[..., 1::2], odd[..., 1::2])
        x = self.dark3[0](self.dark2(self.stem(torch.cat(corners, 1))))
        fine = self.dark3[1](x)
        middle = self.dark4(fine)
        lateral = self.lateral(self.dark5(middle))
        reduced = self.reduce(self.c3_p4(torch.cat((_doubled(lateral), middle), 1)))
        p3 = self.c3_p3(torch.cat((_doubled(reduced), fine), 1))
        n3 = self.c3_n3(torch.cat((self.down2(p3), reduced), 1))
        n4 = self.c3_n4(torch.cat((self.down1(n3), lateral), 1))
        found = [head(level) for head, level in zip(self.heads, (p3, n3, n4), strict=True)]
        return torch.cat(found, 2).transpose(1, 2)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def yolox_nano() -> nn.Module:
    """Return YOLOX-nano with the weights of the ONNX file in EDGEOPT_DATA; convolutions are matched by their order of use."""
    network = YoloxNano().eval()
    graph = onnx.load(_data() / "yolox_nano" / "yolox_nano.onnx").graph
    values = {value.name: torch.from_numpy(numpy_helper.to_array(value).copy()) for value in graph.initializer}
    stored = [list(node.input[1:]) for node in graph.node if node.op_type == "Conv"]
    for layer, names in zip(_in_order(network), stored, strict=True):
        layer.load_state_dict({"weight": values[names[0]], "bias": values[names[1]]})
    return network


@torch.no_grad()
def _in_order(network: nn.Module) -> Iterator[nn.Conv2d]:
    """Yield the convolutions in the order in which one run uses them."""
    used: list[nn.Conv2d] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _: used.append(layer))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    network(torch.zeros(1, 3, 416, 416))
    for hook in hooks:
        hook.remove()
    yield from used


def _data() -> Path:
    return Path(os.environ["EDGEOPT_DATA"])
