"""Rounding matrices to blocks of integers: how scales and zero points are chosen where every block has its own.

A matrix [outputs, inputs] is cut into blocks of `block` inputs; q = clip(round(w / s) + z, 0, 2^bits - 1) and w̃ = s · (q -
z) with a scale and an integer zero point for each block (`edgeopt.quantize.affine` has the arithmetic). onnxruntime's
kernels are as fast with zero points as without, on x86 with VNNI.

- rtn: the grid spans the block's extremes and zero.
- search: a few wider and narrower grids; for each the scale that fits its integers best, by least squares over the weights g;
  the grid with the least error stays (llama.cpp's k-quants do so, https://github.com/ggml-org/llama.cpp/pull/1684). g is the
  mean square of each input on the calibration data, or grows with the weight where there is none.
- hqq: zero points moved so that few weights keep a large error (|error|^0.7 instead of squares; Badri & Shaji,
  https://mobiusml.github.io/hqq_blog), then rounded, because kernels with zero points in floating point are slow.

Rows are worked on a few megabytes at a time, so that memory does not grow with the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeopt.quantize.affine import nearest, restored

Floats = NDArray[np.float32]
Rounding = Literal["rtn", "search", "hqq"]
_CHUNK = 1 << 21
"""Elements that are worked on at a time."""
_SPREADS = (-1.5, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.5, 2.0)
"""Steps by which a grid may be coarser (less than zero) or finer than one over the extremes."""
_HQQ_STEPS, _HQQ_POWER, _HQQ_GROWTH = 20, 0.7, 1.05


@dataclass(frozen=True)
class Blocked:
    """A matrix as blocks: numbers uint8 [outputs, blocks, block], scales and zero points [outputs, blocks]."""

    numbers: NDArray[np.uint8]
    scales: Floats
    zeros: NDArray[np.uint8]
    inputs: int

    def matrix(self) -> Floats:
        """Return what the blocks stand for, [outputs, inputs]."""
        whole = restored(self.numbers.astype(np.float32), self.scales[..., None], self.zeros[..., None].astype(np.float32))
        return np.asarray(whole.reshape(len(whole), -1)[:, : self.inputs], dtype=np.float32)


def joined(parts: Sequence[Blocked]) -> Blocked:
    """Return matrices of the same inputs as one, one below the other."""
    if len(parts) == 1:
        return parts[0]
    numbers, scales, zeros = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "scales", "zeros")
    )
    return Blocked(numbers, scales, zeros, parts[0].inputs)


def round_blocks(
    weight: Floats, *, bits: int, block: int, rounding: Rounding = "rtn", importance: Floats | None = None
) -> Blocked:
    """Return `weight` [outputs, inputs] as blocks.

    Args:
        weight: float32 or float16; not changed.
        bits: 4 or 8.
        block: inputs that share a scale.
        rounding: how scale and zero point of a block are chosen.
        importance: of each input, [inputs], for `search`.
    """
    outputs, inputs = weight.shape
    count = ceil(inputs / block)
    made = Blocked(
        np.empty((outputs, count, block), np.uint8),
        np.empty((outputs, count), np.float32),
        np.empty((outputs, count), np.uint8),
        inputs,
    )
    weights = None if importance is None else _cut(importance[None].astype(np.float32), count, block)
    rows = max(1, _CHUNK // (count * block))
    for start in range(0, outputs, rows):
        part = _cut(weight[start : start + rows].astype(np.float32), count, block)
        scale, zero = _GRIDS[rounding](part, 2**bits - 1, weights)
        numbers = nearest(part, scale, zero, (0, 2**bits - 1))
        made.numbers[start : start + rows] = numbers
        made.scales[start : start + rows] = scale[..., 0]
        made.zeros[start : start + rows] = zero[..., 0]
    return made


def _cut(rows: Floats, count: int, block: int) -> Floats:
    """Return rows [n, inputs] as [n, blocks, block], filled up with zeros."""
    missing = count * block - rows.shape[1]
    padded = np.pad(rows, ((0, 0), (0, missing))) if missing else rows
    return padded.reshape(len(rows), count, block)


def _extremes(part: Floats) -> tuple[Floats, Floats]:
    return np.minimum(part.min(-1, keepdims=True), 0), np.maximum(part.max(-1, keepdims=True), 0)


def _grid(low: Floats, span: Floats, steps: float, top: int) -> tuple[Floats, Floats]:
    """Return scale and zero point of a grid that covers `span` from `low` on in this many steps."""
    scale = np.where(span > 0, span / np.float32(steps), np.float32(1))
    return scale, np.clip(np.round(-low / scale), 0, top)


def _rtn(part: Floats, top: int, weights: Floats | None) -> tuple[Floats, Floats]:  # noqa: ARG001  (as the others)
    low, high = _extremes(part)
    return _grid(low, high - low, top, top)


def search_grid(part: Floats, top: int, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return scales and zero points [n, blocks, 1] of the grids that lose least of `part` [n, blocks, block]."""
    low, high = _extremes(part)
    size = np.abs(part)
    importance = (
        np.broadcast_to(weights, part.shape) if weights is not None else size + np.sqrt(np.square(size).mean(-1, keepdims=True))
    )
    best = np.full(low.shape, np.inf, np.float32)
    scale, zero = _grid(low, high - low, top, top)
    for spread in _SPREADS:
        step, origin = _grid(low, high - low, top + spread, top)
        centred = nearest(part, step, origin, (0, top)) - origin
        weighed = importance * centred
        norm = (weighed * centred).sum(-1, keepdims=True)
        fitted = np.where(norm > 0, (weighed * part).sum(-1, keepdims=True) / np.where(norm > 0, norm, 1), step)
        fitted = np.where(fitted > 0, fitted, step)
        error = (importance * np.square(nearest(part, fitted, origin, (0, top)) * fitted - origin * fitted - part)).sum(
            -1, keepdims=True
        )
        better = error < best
        best, scale, zero = np.where(better, error, best), np.where(better, fitted, scale), np.where(better, origin, zero)
    return scale, zero


def _hqq(part: Floats, top: int, weights: Floats | None) -> tuple[Floats, Floats]:  # noqa: ARG001  (as the others)
    low, high = _extremes(part)
    scale, zero = _grid(low, high - low, top, top)
    best, kept, beta = np.full(low.shape, np.inf, np.float32), zero, 10.0
    for _ in range(_HQQ_STEPS):
        numbers = nearest(part, scale, zero, (0, top))
        left = part - restored(numbers, scale, zero)
        shrunk = np.maximum(np.abs(left) - np.power(np.abs(left) + 1e-8, _HQQ_POWER - 1) / beta, 0)
        error = np.abs(left).mean(-1, keepdims=True)
        better = error < best
        best, kept = np.where(better, error, best), np.where(better, zero, kept)
        zero = np.clip(np.round((numbers - (part - np.sign(left) * shrunk) / scale).mean(-1, keepdims=True)), 0, top)
        beta *= _HQQ_GROWTH
    return scale, kept


_GRIDS: dict[str, Callable[[Floats, int, Floats | None], tuple[Floats, Floats]]] = {
    "rtn": _rtn,
    "search": search_grid,
    "hqq": _hqq,
}
