"""Which channels of each layer are left: a pruned model is its builder + kept indices + weights.

    kept = {"blocks.0.conv1": {"out": [0, 2, 3], "in": [1, 4]}, …}

An index counts the channels of the unpruned layer. A layer or a side that is not named is whole. A depthwise convolution
(groups = channels) and a normalisation have the one side "out".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from edgeopt.errors import ModelError

Side = Literal["in", "out"]
Kept = Mapping[str, Mapping[Side, Sequence[int]]]


def narrow(model: nn.Module, kept: Kept) -> None:
    """Cut `model`'s layers down, in place, to the channels in `kept`; their weights go with them.

    Raises:
        ModelError: a layer is not there, is of a kind that cannot be cut, or has no such channel.
    """
    layers = dict(model.named_modules())
    for name, sides in kept.items():
        if name not in layers:
            raise ModelError(f"kept channels of '{name}': the model has no such layer")
        for side, indices in sides.items():
            _cut(layers[name], name, side, torch.as_tensor(list(indices), dtype=torch.long))


def _cut(layer: nn.Module, name: str, side: Side, indices: torch.Tensor) -> None:
    whole = width(layer, side)
    if whole is None:
        raise ModelError(f"kept channels of '{name}': {type(layer).__name__} has no side '{side}' that can be cut")
    if len(indices) == 0 or int(indices.min()) < 0 or int(indices.max()) >= whole or len(set(indices.tolist())) != len(indices):
        raise ModelError(f"kept channels of '{name}', side '{side}': must be different numbers from 0 to {whole - 1}")
    if isinstance(layer, nn.Conv2d | nn.Conv1d):
        _cut_convolution(layer, side, indices)
    elif isinstance(layer, nn.Linear):
        _select(layer, ["weight", "bias"] if side == "out" else ["weight"], 0 if side == "out" else 1, indices)
        setattr(layer, "out_features" if side == "out" else "in_features", len(indices))
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        _select(layer, ["weight", "bias", "running_mean", "running_var"], 0, indices)
        layer.num_features = len(indices)


def _cut_convolution(layer: nn.Conv2d | nn.Conv1d, side: Side, indices: torch.Tensor) -> None:
    if side == "out":
        _select(layer, ["weight", "bias"], 0, indices)
        layer.out_channels = len(indices)
        if layer.groups > 1:  # depthwise: each channel has its own filter, so both sides shrink
            layer.in_channels = layer.groups = len(indices)
    else:
        _select(layer, ["weight"], 1, indices)
        layer.in_channels = len(indices)


def compose(first: Kept, then: Kept) -> Kept:
    """Return the kept channels of a model that was narrowed to `first` and afterwards, counting what was left, to `then`."""
    composed = {name: dict(sides) for name, sides in first.items()}
    for name, sides in then.items():
        for side, indices in sides.items():
            left = composed.setdefault(name, {}).get(side)
            composed[name][side] = list(indices) if left is None else [left[index] for index in indices]
    return composed


def width(layer: nn.Module, side: Side) -> int | None:
    """Return how many channels `layer` has on `side`, or None if it cannot be cut there."""
    if isinstance(layer, nn.Conv2d | nn.Conv1d):
        if layer.groups == 1:
            return layer.out_channels if side == "out" else layer.in_channels
        return layer.out_channels if side == "out" and layer.groups == layer.in_channels == layer.out_channels else None
    if isinstance(layer, nn.Linear):
        return layer.out_features if side == "out" else layer.in_features
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return layer.num_features if side == "out" else None
    return None


def _select(layer: nn.Module, names: list[str], axis: int, indices: torch.Tensor) -> None:
    for name in names:
        tensor = getattr(layer, name)
        if tensor is None:
            continue
        chosen = tensor.detach().index_select(axis, indices.to(tensor.device)).clone()
        setattr(
            layer,
            name,
            nn.Parameter(chosen, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else chosen,
        )
