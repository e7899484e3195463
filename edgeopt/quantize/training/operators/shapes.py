"""Operators that move elements, and those that compute with shapes and indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = Mapping[str, Any]


def _reshape(given: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    """A 0 copies the size of the same axis, unless `allowzero`."""
    sizes = [int(size) for size in shape.tolist()]
    if not given.get("allowzero", 0):
        sizes = [x.shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    return x.reshape(sizes)


def _transpose(given: Attributes, x: Tensor) -> Tensor:
    return x.permute(list(given.get("perm", range(x.ndim - 1, -1, -1))))


def _flatten(given: Attributes, x: Tensor) -> Tensor:
    axis = given.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1)


def _concat(given: Attributes, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, given["axis"])


def _split(given: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = given.get("axis", 0)
    if sizes is not None:
        return torch.split(x, [int(size) for size in sizes.tolist()], axis)
    count = given["num_outputs"]
    return torch.split(x, -(-x.shape[axis] // count), axis)


def _slice(
    _: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    begin, end = starts.tolist(), ends.tolist()
    places = axes.tolist() if axes is not None else list(range(len(begin)))
    strides = steps.tolist() if steps is not None else [1] * len(begin)
    for start, stop, axis, step in zip(begin, end, places, strides, strict=True):
        if step > 0:
            index = [slice(None)] * (axis % x.ndim) + [slice(start, min(stop, 1 << 60), step)]
            x = x[tuple(index)]
        else:
            picked = range(*slice(start, None if stop < -x.shape[axis] else stop, step).indices(x.shape[axis]))
            x = x.index_select(axis, torch.tensor(list(picked), dtype=torch.int64))
    return x


def _squeeze(given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    places = axes.tolist() if axes is not None else given.get("axes")
    return x.squeeze() if not places else x.squeeze(tuple(int(place) for place in places))


def _unsqueeze(given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    places = [int(place) for place in (axes.tolist() if axes is not None else given["axes"])]
    rank = x.ndim + len(places)
    for place in sorted(place % rank for place in places):
        x = x.unsqueeze(place)
    return x


def _expand(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return torch.broadcast_to(x, np.broadcast_shapes(tuple(x.shape), tuple(int(size) for size in shape.tolist())))


def _tile(_: Attributes, x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat([int(count) for count in repeats.tolist()])


def _gather(given: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = given.get("axis", 0) % x.ndim
    places = torch.where(indices < 0, indices + x.shape[axis], indices).long()
    if axis == 0 and x.ndim == 2 and x.is_floating_point():
        return F.embedding(places, x)
    picked = x.index_select(axis, places.reshape(-1))
    return picked.reshape(x.shape[:axis] + places.shape + x.shape[axis + 1 :])


def _gather_elements(given: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = given.get("axis", 0)
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices).long())


def _gather_nd(given: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    batched = given.get("batch_dims", 0)
    if batched:
        made = [_gather_nd({"batch_dims": batched - 1}, *pair) for pair in zip(x, indices, strict=True)]
        return torch.stack(made)
    return x[tuple(indices.long().unbind(-1))]


def _pad(given: Attributes, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    mode = given.get("mode", "constant")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    amounts = [int(amount) for amount in pads.tolist()]
    places = [int(place) % x.ndim for place in axes.tolist()] if axes is not None else list(range(x.ndim))
    begin, end = [0] * x.ndim, [0] * x.ndim
    for number, place in enumerate(places):
        begin[place], end[place] = amounts[number], amounts[number + len(places)]
    flat = [amount for place in reversed(range(x.ndim)) for amount in (begin[place], end[place])]
    if mode == "constant":
        return F.pad(x, flat, value=float(value) if value is not None else 0.0)
    while len(flat) > 2 and not any(flat[-2:]):
        flat = flat[:-2]
    return F.pad(x, flat, mode={"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode])


def _shape(given: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape[slice(given.get("start", 0), given.get("end"))]), dtype=torch.int64)


def _size(_: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def _constant_of_shape(given: Attributes, shape: Tensor) -> Tensor:
    value = given.get("value")
    filled = torch.zeros(1) if value is None else torch.from_numpy(value.numpy().copy())
    return filled.reshape(()).expand([int(size) for size in shape.tolist()]).clone()


def _range(_: Attributes, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def _depth_to_space(given: Attributes, x: Tensor) -> Tensor:
    size, mode = given["blocksize"], given.get("mode", "DCR")
    batch, channels, height, width = x.shape
    if mode in {"CRD", b"CRD"}:
        return F.pixel_shuffle(x, size)
    parts = x.reshape(batch, size, size, channels // size**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, channels // size**2, height * size, width * size)


def _space_to_depth(given: Attributes, x: Tensor) -> Tensor:
    size = given["blocksize"]
    if given.get("mode", "DCR") in {"CRD", b"CRD"}:
        return F.pixel_unshuffle(x, size)
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // size, size, width // size, size).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(batch, channels * size**2, height // size, width // size)


def _triangle(given: Attributes, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    offset = int(diagonal) if diagonal is not None else 0
    return torch.triu(x, offset) if given.get("upper", 1) else torch.tril(x, offset)


def _top_k(given: Attributes, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Of equal values the first comes first."""
    axis = given.get("axis", -1)
    values, indices = torch.sort(x, dim=axis, descending=bool(given.get("largest", 1)), stable=True)
    return values.narrow(axis, 0, int(count)), indices.narrow(axis, 0, int(count))


SHAPES: Mapping[str, Callable[..., Any]] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
