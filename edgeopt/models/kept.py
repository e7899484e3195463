"""Remaining channels of each layer: a pruned model is its builder + kept indices + weights.

    kept = {"blocks.0.conv1": {"out": [0, 2, 3], "in": [1, 4]}, "gamma": {"axis0": [0, 2, 3]}, …}

An index counts the channels of the unpruned layer. A layer or side that is not named is complete. A depthwise convolution
(groups = channels), a normalisation, a PReLU with a slope for each channel, an embedding and `nn.MultiheadAttention` have the
one side "out"; an embedding has the side "rows" as well; a parameter of its own has a side for each axis. Of a grouped
convolution the same channels of every group are left at the input, and as many of every group at the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeGuard

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from edgeopt.errors import ModelError

Side = Literal["in", "out", "rows", "axis0", "axis1", "axis2", "axis3", "axis4"]
Kept = Mapping[str, Mapping[Side, Sequence[int]]]
_AXIS = "axis"


def narrow(model: nn.Module, kept: Kept) -> None:
    """Cut `model`'s layers and parameters down, in place, to the channels in `kept`; their weights go with them.

    Raises:
        ModelError: a layer does not exist, is of a kind that cannot be cut, or has no such channel.
    """
    layers, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    for name, sides in kept.items():
        for side, chosen in sides.items():
            indices = _indices(chosen, name, side)
            if name in layers:
                _check(indices, width(layers[name], side), f"{type(layers[name]).__name__} '{name}'", side)
                _cut(layers[name], side, indices)
            elif name in parameters:
                axis = _axis(side, parameters[name])
                _check(indices, None if axis is None else parameters[name].shape[axis], f"parameter '{name}'", side)
                owner, _, own_name = name.rpartition(".")
                _select(layers[owner], [own_name], axis or 0, indices)
            else:
                raise ModelError(f"kept channels of '{name}': the model has no such layer")


def _indices(chosen: Sequence[int], name: str, side: Side) -> torch.Tensor:
    try:
        return torch.as_tensor(list(chosen), dtype=torch.long)
    except (ValueError, OverflowError, RuntimeError) as error:  # (by the version of torch, for more than 64 bits)
        raise ModelError(f"kept channels of '{name}', side '{side}': a number is no channel of any layer") from error


def _check(indices: torch.Tensor, whole: int | None, what: str, side: Side) -> None:
    if whole is None:
        raise ModelError(f"kept channels of {what}: it has no side '{side}' that can be cut")
    if len(indices) == 0 or int(indices.min()) < 0 or int(indices.max()) >= whole or len(set(indices.tolist())) != len(indices):
        raise ModelError(f"kept channels of {what}, side '{side}': must be different numbers from 0 to {whole - 1}")


def _axis(side: Side, parameter: nn.Parameter) -> int | None:
    axis = int(side.removeprefix(_AXIS)) if side.startswith(_AXIS) else parameter.ndim
    return axis if axis < parameter.ndim else None


def width(layer: nn.Module, side: Side) -> int | None:
    """Return the number of channels of `layer` on `side`, or None if it cannot be cut there."""
    if isinstance(layer, _ConvNd):
        return _width_of_convolution(layer, side)
    if isinstance(layer, nn.Linear) and side in {"in", "out"}:
        return layer.out_features if side == "out" else layer.in_features
    if is_conv1d(layer) and side in {"in", "out"}:
        return int(layer.weight.shape[1 if side == "out" else 0])
    if side == "rows" and isinstance(layer, nn.Embedding):
        return layer.num_embeddings
    if side != "out":
        return None
    if isinstance(layer, nn.MultiheadAttention):
        return layer.embed_dim if layer.in_proj_weight is not None and layer.bias_k is None else None
    return _width_of_pointwise(layer)


def is_conv1d(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Return whether `layer` is transformers' Conv1D (GPT-2): a linear layer with a weight [in, out]."""
    return type(layer).__name__ == "Conv1D" and isinstance(getattr(layer, "nf", None), int)


def is_depthwise(layer: _ConvNd) -> bool:
    """Return whether a convolution treats its channels one by one."""
    return layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels


def _width_of_convolution(layer: _ConvNd, side: Side) -> int | None:
    depthwise = is_depthwise(layer)
    if (depthwise and side == "in") or (layer.groups > 1 and layer.transposed and not depthwise):
        return None
    return {"out": layer.out_channels, "in": layer.in_channels}.get(side)


def _width_of_pointwise(layer: nn.Module) -> int | None:
    match layer:
        case _BatchNorm() | _InstanceNorm():
            return layer.num_features
        case nn.GroupNorm():
            return layer.num_channels
        case nn.LayerNorm() | nn.RMSNorm():
            return layer.normalized_shape[-1]
        case nn.PReLU():
            return layer.num_parameters if layer.num_parameters > 1 else None
        case nn.Embedding():
            return layer.embedding_dim
        case _:
            return None


def _cut(layer: nn.Module, side: Side, indices: torch.Tensor) -> None:
    count = len(indices)
    match layer:
        case _ if is_conv1d(layer):
            _select(layer, ["weight", "bias"] if side == "out" else ["weight"], -1 if side == "out" else 0, indices)
            setattr(layer, "nf" if side == "out" else "nx", count)
        case _ConvNd():
            _cut_convolution(layer, side, indices)
        case nn.Linear():
            _select(layer, ["weight", "bias"] if side == "out" else ["weight"], 0 if side == "out" else 1, indices)
            setattr(layer, "out_features" if side == "out" else "in_features", count)
        case _BatchNorm() | _InstanceNorm():
            _select(layer, ["weight", "bias", "running_mean", "running_var"], 0, indices)
            layer.num_features = count
        case nn.GroupNorm():
            _select(layer, ["weight", "bias"], 0, indices)
            layer.num_channels = count
        case nn.LayerNorm() | nn.RMSNorm():
            _select(layer, ["weight", "bias"], -1, indices)
            layer.normalized_shape = (*layer.normalized_shape[:-1], count)
        case nn.PReLU():
            _select(layer, ["weight"], 0, indices)
            layer.num_parameters = count
        case nn.Embedding():
            _cut_embedding(layer, side, indices)
        case nn.MultiheadAttention():
            _cut_attention(layer, indices)


def _cut_embedding(layer: nn.Embedding, side: Side, indices: torch.Tensor) -> None:
    _select(layer, ["weight"], 0 if side == "rows" else 1, indices)
    if side == "rows":
        layer.num_embeddings = len(indices)
        if layer.padding_idx is not None:
            place = (indices == layer.padding_idx).nonzero()
            layer.padding_idx = int(place[0]) if len(place) else None
    else:
        layer.embedding_dim = len(indices)


def _cut_convolution(layer: _ConvNd, side: Side, indices: torch.Tensor) -> None:
    """Cut a weight [out, in / groups, …], or [in, out / groups, …] of a transposed convolution."""
    if is_depthwise(layer):
        _select(layer, ["weight", "bias"], 0, indices)  # each channel has its own filter, so both sides shrink
        layer.out_channels = layer.in_channels = layer.groups = len(indices)
    elif side == "out":
        _of_each_group(layer.out_channels, layer.groups, indices)
        _select(layer, ["weight"], 1 if layer.transposed else 0, indices)
        _select(layer, ["bias"], 0, indices)
        layer.out_channels = len(indices)
    else:
        of_group = _of_each_group(layer.in_channels, layer.groups, indices)
        if any(not torch.equal(of_group[0], other) for other in of_group):
            raise ModelError("kept channels of a grouped convolution, side 'in': must be the same in each group")
        _select(layer, ["weight"], 0 if layer.transposed else 1, of_group[0])
        layer.in_channels = len(indices)


def _of_each_group(whole: int, groups: int, indices: torch.Tensor) -> list[torch.Tensor]:
    """Return the indices by group, counted from its start."""
    size = whole // groups
    of_group = [indices[(indices // size) == group] - group * size for group in range(groups)]
    if len({len(chosen) for chosen in of_group}) != 1:
        raise ModelError("kept channels of a grouped convolution: must be as many in each group")
    return of_group


def _cut_attention(layer: nn.MultiheadAttention, indices: torch.Tensor) -> None:
    """Cut the rows of queries, keys and values [3 · embed, embed], and both sides of the output projection."""
    rows = torch.cat([indices + part * layer.embed_dim for part in range(3)])
    _select(layer, ["in_proj_weight", "in_proj_bias"], 0, rows)
    _select(layer, ["in_proj_weight"], 1, indices)
    for side in ("out", "in"):
        _cut(layer.out_proj, side, indices)
    layer.embed_dim = layer.kdim = layer.vdim = len(indices)
    layer.head_dim = len(indices) // layer.num_heads


def compose(first: Kept, then: Kept) -> Kept:
    """Return the kept channels of a model that was narrowed to `first` and then, counting the rest, to `then`."""
    composed = {name: dict(sides) for name, sides in first.items()}
    for name, sides in then.items():
        for side, indices in sides.items():
            left = composed.setdefault(name, {}).get(side)
            composed[name][side] = list(indices) if left is None else [left[index] for index in indices]
    return composed


def _select(layer: nn.Module, names: list[str], axis: int, indices: torch.Tensor) -> None:
    for name in names:
        tensor = getattr(layer, name, None)
        if tensor is None:
            continue
        chosen = tensor.detach().index_select(axis, indices.to(tensor.device)).clone()
        setattr(
            layer,
            name,
            nn.Parameter(chosen, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else chosen,
        )
