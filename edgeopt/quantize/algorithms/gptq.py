"""GPTQ: round a matrix row by row of its input axis; the rows not yet rounded take over the error.

For y = x·W with rows x of calibration data and H = E[xᵀx], rounding input i costs (w - q)² / [H⁻¹]ᵢᵢ, and the best the
other inputs can do is to change by -(w - q) / [H⁻¹]ᵢᵢ · [H⁻¹]ᵢⱼ (Frantar et al., https://arxiv.org/abs/2210.17323, equations
2 and 3). With U the upper Cholesky factor of H⁻¹ that is one pass over the rows. The grid of a block is laid over its weights
when the pass comes to it: of a few shrunken ranges the one with the least error, weighed by the diagonal of H.

onnxruntime 1.32 has GPTQ, too. It computes the grid again from the rounded weights, which undoes it (its results equal plain
rounding with zero points and are 3 dB worse without), and fails for an odd number of blocks; see docs/log/quantize.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.batches import Batches
from edgeopt.graph.batch_axes import batch_axes, rows
from edgeopt.graph.matching import names_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.graph.signature import Signature
from edgeopt.quantize.affine import nearest, restored
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of

Floats = NDArray[np.float64]

_DAMPING = 0.01  # of H's mean diagonal
_SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
_ROOM = 1 << 30  # bytes of second moments that are summed in one pass over the data


@dataclass(frozen=True)
class Blocks:
    """A matrix [k, n] as blocks along k: unsigned numbers [k, n], scales and zero points [blocks, n]."""

    numbers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.uint8]

    def matrix(self, block: int) -> Floats:
        """Return what the blocks stand for, [k, n]."""
        size = self.numbers.shape[0]
        zeros, scales = (np.repeat(item, block, axis=0)[:size].astype(np.float64) for item in (self.zeros, self.scales))
        return restored(self.numbers, scales, zeros)


def quantize_blocks(weight: NDArray[Any], inner: Floats, *, bits: int, block: int, symmetric: bool) -> Blocks:
    """Round `weight` for inputs with second moments `inner`.

    Args:
        weight: [k, n].
        inner: H, [k, k]; the unit matrix gives plain rounding.
        bits: 4 or 8.
        block: how many inputs share a scale.
        symmetric: all zero points in the middle of the range.
    """
    weight = weight.astype(np.float64)
    size, width = weight.shape
    count = ceil(size / block)
    scales, zeros = np.empty((count, width)), np.empty((count, width))
    numbers = np.empty((size, width))
    importance = np.diag(inner).copy()
    factor = inverse_factor(inner)
    for index in range(count):
        start, end = index * block, min((index + 1) * block, size)
        scale, zero = _grid(weight[start:end], importance[start:end, None], bits, symmetric)
        scale = scale.astype(np.float32).astype(np.float64)
        scales[index], zeros[index] = scale, zero
        errors = np.empty((end - start, width))
        for row in range(start, end):
            numbers[row] = nearest(weight[row], scale, zero, (0, 2**bits - 1))
            errors[row - start] = (weight[row] - restored(numbers[row], scale, zero)) / factor[row, row]
            weight[row + 1 : end] -= factor[row, row + 1 : end, None] * errors[row - start]
        weight[end:] -= factor[start:end, end:].T @ errors
    return Blocks(numbers.astype(np.uint8), scales.astype(np.float32), zeros.astype(np.uint8))


def inverse_factor(inner: Floats) -> Floats:
    """Return U, upper triangular, with H⁻¹ = Uᵀ·U; directions without data are damped."""
    diagonal = float(np.diag(inner).mean()) or 1.0
    inverse = np.linalg.inv(inner + _DAMPING * diagonal * np.eye(inner.shape[0]))
    return np.asarray(np.linalg.cholesky((inverse + inverse.T) / 2).T)


def _grid(weight: Floats, importance: Floats, bits: int, symmetric: bool) -> tuple[Floats, Floats]:
    """Return the scale and zero point of each column of one block that lose least."""
    low, high = np.minimum(weight.min(axis=0), 0), np.maximum(weight.max(axis=0), 0)
    top, middle = 2**bits - 1, 2 ** (bits - 1)
    best = np.full(weight.shape[1], np.inf)
    scale, zero = np.ones(weight.shape[1]), np.full(weight.shape[1], float(middle))
    for shrink in _SHRINKS:
        widest = np.maximum(-low / middle, high / (middle - 1)) if symmetric else (high - low) / top
        step = np.where(widest > 0, widest * shrink, 1.0)
        origin = np.full_like(step, middle) if symmetric else np.clip(np.round(-low * shrink / step), 0, top)
        rounded = restored(nearest(weight, step, origin, (0, top)), step, origin)
        error = (importance * np.square(weight - rounded)).sum(axis=0)
        better = error < best
        best, scale, zero = np.where(better, error, best), np.where(better, step, scale), np.where(better, origin, zero)
    return scale, zero


def second_moments(
    model: ir.Model,
    tensors: dict[str, int],
    calibration: Batches | CheckedSamples,
    signature: Signature,
    *,
    threads: int,
) -> Iterator[tuple[str, Floats, int]]:
    """Yield (tensor, Σ xᵀx over its rows [k, k], samples seen) for tensors whose last axis has k entries, given by name.

    Sums that take more than a gibibyte together are made in turns, each a pass over the data.
    """
    inputs = set(names_of(model.graph.inputs))
    for names in turns(tensors):
        inner = {name: np.zeros((tensors[name], tensors[name])) for name in names}
        session = open_exposed(model, [name for name in names if name not in inputs], threads=threads)
        samples, axes = 0, batch_axes(signature)
        for batch in samples_of(calibration, signature):
            made = run(session, [name for name in names if name not in batch], batch, sample=samples)
            for name in names:
                vectors = (made[name] if name in made else batch[name]).reshape(-1, tensors[name]).astype(np.float64)
                inner[name] += vectors.T @ vectors
            samples += rows(batch, axes)
        for name in names:
            yield name, inner.pop(name), samples


def turns(tensors: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """Yield names of tensors with `size` entries on their last axis in groups whose second moments fit into memory together."""
    turn: list[str] = []
    room = _ROOM
    for name, size in tensors.items():
        if turn and room < 8 * size**2:
            yield turn
            turn, room = [], _ROOM
        turn.append(name)
        room -= 8 * size**2
    if turn:
        yield turn
