"""Round a weight matrix so that the layer's output, not the weight, is nearest to what it was.

Rounding each weight to the nearest grid point is not best: errors of weights whose inputs move together add up or cancel.
With rows x of (rounded) inputs and the wanted outputs y of the floating-point layer, the mean squared error of one output is

    f(w̃) = E[(y - w̃·x)²] = w̃ H w̃ᵀ - 2 c w̃ᵀ + const,     H = E[x xᵀ],  c = E[y xᵀ]

and each weight may go up or down: the binary problem of AdaRound (Nagel et al., https://arxiv.org/abs/2004.10568, equations 13
and 21, with the quantized layer's own input in place of the exact one, as in equation 25). AdaRound relaxes it and descends
gradients for thousands of steps. Here it is solved in two closed steps, deterministically and in seconds:

1. Error feedback, column by column: each column is rounded, and the columns not yet rounded take over what that does to f, by
   the Cholesky factor of H⁻¹ (GPTQ, Frantar et al., https://arxiv.org/abs/2210.17323, equations 2-3), starting from the
   unrounded optimum c·H⁻¹, so that errors of the layers before are made good as well.
2. Coordinate descent: each weight moves to whichever of its two points lowers f, until none does.

The better of the result and nearest rounding is kept for each output, so f never rises.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeopt.quantize.affine import nearest, restored

Floats = NDArray[np.float64]

_DAMPING = 0.01  # of the mean diagonal of H: in directions without data, weights stay where they are
_SWEEPS = 4


@dataclass(frozen=True)
class Moments:
    """What `solve` knows of a layer's inputs and outputs, for each of g groups with k inputs and o outputs.

    Attributes:
        inner: H = E[x xᵀ], [g, k, k]; of centred x if the layer's bias can take over the mean.
        cross: c = E[y xᵀ], [g, o, k].
        power: E[y²], [g, o].
    """

    inner: Floats
    cross: Floats
    power: Floats


@dataclass(frozen=True)
class Levels:
    """The points ``step · n`` with whole n, ``low ≤ n ≤ high``; each [g, o, 1] or [g, o, k]."""

    step: Floats
    low: Floats
    high: Floats

    def nearest(self, weight: Floats) -> Floats:
        """Return the number n of the point nearest to each weight, [g, o, k]."""
        return nearest(weight, self.step, 0, (self.low, self.high))

    def around(self, weight: Floats) -> Levels:
        """Return the grid of the two points around each weight."""
        low, high = np.floor(weight / self.step), np.ceil(weight / self.step)
        return Levels(self.step, np.clip(low, self.low, self.high), np.clip(high, self.low, self.high))


def solve(weight: Floats, moments: Moments, grid: Levels) -> tuple[Floats, Floats, Floats]:
    """Return (weights on the grid, error before, error after), weights [g, o, k], errors f / E[y²] of shape [g, o].

    Args:
        weight: floating point, [g, o, k].
        moments: of the layer's input and output.
        grid: where the weights may lie.
    """
    inner, cross = damped(weight, moments)
    grid = grid.around(weight)
    nearest = grid.nearest(weight)
    optimum: Floats = np.asarray(np.linalg.solve(inner, cross.swapaxes(1, 2)).swapaxes(1, 2), dtype=np.float64)
    best = _feedback(optimum, inner, grid)
    best = _descend(best, inner, cross, grid)
    before, after = (objective(item * grid.step, inner, cross) for item in (nearest, best))
    chosen = np.where((after < before)[..., None], best, nearest) * grid.step
    return chosen, relative_error(nearest * grid.step, moments), relative_error(chosen, moments)


def damped(weight: Floats, moments: Moments) -> tuple[Floats, Floats]:
    """Return H + λI and c + λw, λ a small share of H's mean diagonal: the problem with a pull towards `weight`."""
    mean = np.einsum("gkk->g", moments.inner) / moments.inner.shape[1]
    pull = np.where(mean > 0, _DAMPING * mean, 1.0)[:, None, None]
    return moments.inner + pull * np.eye(moments.inner.shape[1]), moments.cross + pull * weight


def objective(weight: Floats, inner: Floats, cross: Floats) -> Floats:
    """Return w H wᵀ - 2 c wᵀ, [g, o]."""
    return np.asarray(((weight @ inner - 2 * cross) * weight).sum(axis=2))


def relative_error(weight: Floats, moments: Moments) -> Floats:
    """Return E[(y - w·x)²] / E[y²], [g, o]; 0 where y is always zero."""
    error = objective(weight, moments.inner, moments.cross) + moments.power
    return np.asarray(np.divide(error, moments.power, out=np.zeros_like(error), where=moments.power > 0))


def _feedback(start: Floats, inner: Floats, grid: Levels) -> Floats:
    """Round column by column, large diagonals first; the columns behind take over the error."""
    order = np.argsort(-np.einsum("gkk->gk", inner), axis=1, kind="stable")
    permuted = np.take_along_axis(np.take_along_axis(inner, order[:, :, None], axis=1), order[:, None, :], axis=2)
    factor = np.linalg.cholesky(np.linalg.inv(permuted)).swapaxes(1, 2)  # U with H⁻¹ = Uᵀ U
    weight, low, high = (np.take_along_axis(item, order[:, None, :], axis=2) for item in (start, grid.low, grid.high))
    rounded = np.empty_like(weight)
    step = grid.step[..., 0]
    for column in range(weight.shape[2]):
        rounded[..., column] = nearest(weight[..., column], step, 0, (low[..., column], high[..., column]))
        error = (weight[..., column] - restored(rounded[..., column], step, 0)) / factor[:, column, column, None]
        weight[..., column + 1 :] -= error[..., None] * factor[:, None, column, column + 1 :]
    back = np.argsort(order, axis=1)
    return np.asarray(np.take_along_axis(rounded, back[:, None, :], axis=2))


def _descend(numbers: Floats, inner: Floats, cross: Floats, grid: Levels) -> Floats:
    """Move each number, one column at a time, to where the objective is least with all others held."""
    numbers = numbers.copy()
    slope = (numbers * grid.step) @ inner - cross  # half the gradient, [g, o, k]
    diagonal = np.einsum("gkk->gk", inner)
    step = grid.step[..., 0]
    for _ in range(_SWEEPS):
        moved = False
        for column in range(numbers.shape[2]):
            wanted = numbers[..., column] - slope[..., column] / (diagonal[:, column, None] * step)
            change = np.clip(np.round(wanted), grid.low[..., column], grid.high[..., column]) - numbers[..., column]
            if change.any():
                moved = True
                numbers[..., column] += change
                slope += (change * step)[..., None] * inner[:, None, column, :]
        if not moved:
            break
    return numbers
