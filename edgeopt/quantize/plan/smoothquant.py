"""The range, and the smoothing, under which a matrix product x·W loses least to rounding.

Rounding x to 8 bits with one step for all channels wastes the steps of the small channels when a few are large, as after the
LayerNormalizations and in the feed-forward nets of transformers. SmoothQuant (Xiao et al., https://arxiv.org/abs/2211.10438,
equation 4) moves part of the difference into the weights, which have a scale for each output channel:

    x·W = (x / s)·(s·W)      with  s_j = max|x_j|^α / max|W_j|^(1 - α)

What counts is the error of the product, not of x: a badly rounded channel that meets small weights does no harm. So α and how
much of the range is clipped are chosen by trying: the product of sampled rows with rounded x and rounded W against the exact
one. Smoothing costs a multiplication at run time, so it must gain at least 2 dB over the best range without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import copied, fresh_name
from edgeopt.graph.matching import attribute
from edgeopt.quantize.affine import Affine, Grid, IntegerType, Interval

Floats = NDArray[np.float64]

_STRENGTHS = (0.35, 0.5, 0.65, 0.8)
_CLIPS = (1.0, 0.85, 0.72, 0.6, 0.5, 0.4, 0.3)
_COARSE = (1.0, 0.6)  # clips that every strength is tried with; the best strength is tried with all
_GAIN = 10 ** (-2 / 10)  # smoothing must lower the error to this share: 2 dB
_COLUMNS = 128  # output channels tried; the error is taken as theirs


@dataclass(frozen=True)
class ProductChoice:
    """The interval of x / factors (of x, if there are none), the strength of the smoothing and the relative error."""

    interval: Interval
    strength: float
    factors: tuple[float, ...]
    error: float


def choose_product(
    rows: NDArray[Any],
    channels: tuple[NDArray[Any], NDArray[Any]],
    weight: NDArray[Any],
    *,
    grids: tuple[Grid, Grid],
    smooth: bool,
) -> ProductChoice:
    """Return the best way to round the factors of x·W.

    Args:
        rows: sampled rows of x, [rows, k].
        channels: the smallest and largest value of each of the k channels over all data.
        weight: W, [k, n].
        grids: of x and of W (which has one scale for each of its n columns).
        smooth: whether smoothing may be chosen.
    """
    columns = np.linspace(0, weight.shape[1] - 1, min(_COLUMNS, weight.shape[1])).astype(int)
    trial = _Trial(rows.astype(np.float32), channels, weight[:, columns].astype(np.float32), grids)
    plain = min((trial.of(0.0, clip) for clip in _CLIPS), key=lambda choice: choice.error)
    if not smooth or rows.shape[0] == 0:
        return plain
    coarse = min((trial.of(strength, clip) for strength in _STRENGTHS for clip in _COARSE), key=lambda choice: choice.error)
    best = min((trial.of(coarse.strength, clip) for clip in _CLIPS), key=lambda choice: choice.error)
    return best if best.error < plain.error * _GAIN else plain


class _Trial:
    def __init__(
        self,
        rows: NDArray[np.float32],
        channels: tuple[NDArray[Any], NDArray[Any]],
        weight: NDArray[np.float32],
        grids: tuple[Grid, Grid],
    ) -> None:
        self.rows, self.weight, self.grids = rows, weight, grids
        self.low, self.high = channels
        self.exact = rows @ weight
        self._known: dict[float, tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]] = {}
        self.power = float(np.square(self.exact).sum()) or 1.0

    def of(self, strength: float, clip: float) -> ProductChoice:
        factors, rows, weight = self._smoothed(strength)
        low, high = self.grids[0].widen((clip * float((self.low / factors).min()), clip * float((self.high / factors).max())))
        rounded = self.grids[0].fake_quantize(rows, (low, high)) @ weight
        error = float(np.square(rounded - self.exact).sum()) / self.power
        return ProductChoice((low, high), strength, tuple(map(float, factors)) if strength else (), error)

    def _smoothed(self, strength: float) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the factors, the rows divided by them, and the rounded product of them and the weights."""
        if strength not in self._known:
            largest = np.maximum(-self.low, self.high)
            factors = smoothing_factors(largest, np.abs(self.weight).max(axis=1), strength).astype(np.float32)
            weight = round_columns(self.weight * factors[:, None], self.grids[1])
            self._known[strength] = factors, self.rows / factors, weight
        return self._known[strength]


def smoothing_factors(largest: NDArray[Any], weights: NDArray[Any], strength: float) -> Floats:
    """Return s_j of SmoothQuant, with a geometric mean of 1; all ones for strength 0 and for channels that are always zero."""
    factors = np.ones(largest.shape, dtype=np.float64)
    used = (largest > 0) & (weights > 0)
    if strength == 0 or not used.any():
        return factors
    factors[used] = largest[used] ** strength / weights[used] ** (1 - strength)
    factors[used] /= np.exp(np.log(factors[used]).mean())
    return np.clip(factors, 1e-3, 1e3)


def round_columns(weight: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Round each column of a matrix to a symmetric grid over its own largest value."""
    kind: IntegerType = "int8" if grid.bits == 8 else "int16"
    return np.asarray(Affine.of_values(weight, kind, axis=1, symmetric=True).fake_quantize(weight), dtype=np.float32)


def scaled_weight(node: ir.Node, weight: NDArray[Any], factors: Sequence[float]) -> NDArray[np.float32]:
    """Return the weight of a Gemm or MatMul with its input channels multiplied by `factors`."""
    scale = np.asarray(factors, dtype=np.float32)
    return np.asarray(weight * (scale[None, :] if attribute(node, "transB", 0) else scale[:, None]), dtype=np.float32)


def scaled_names(model: ir.Model, tensors: Sequence[str]) -> dict[str, str]:
    """Return what the scaled copies of `tensors` are to be called: names that the model has not."""
    graph = copied(model).graph
    return {name: fresh_name(graph, f"{name}_smoothed") for name in tensors}
