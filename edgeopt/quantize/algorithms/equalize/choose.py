"""Which scales lose least when the weights of a block get one scale for each tensor.

Equalisation in the literature (Nagel et al., https://arxiv.org/abs/1906.04721, section 4.1) makes the weight ranges of
neighbours equal, and replaces ReLU6 by ReLU first. Both do harm here: equal ranges say nothing of what an error costs, and
networks trained with ReLU6 need it. Instead the expected error at the block's output is written down and made small. With
steps s for the weights of E, D, P (the largest absolute weight / 127) and t for the activations (range / 255), an error uniform
over a step has variance s²/12, and per output of P channel c adds

    ‖p‖²·‖d‖²·(s_E²·V[x] + t₁²) / a²          rounding E's filter, and what D reads      (‖d‖², ‖p‖²: of D's filter, P's column)
    ‖p‖²·k·s_D²·V[x₁]·a² / b²                 rounding D's filter of k weights
    ‖p‖²·t₂² / b²  +  m·s_P²·V[x₂]·b²         rounding what P reads, and P's column for m outputs

all / 12, where V are variances (bias correction takes care of the means) before scaling. a is bounded by T / (M·margin), where
M is the largest value seen and T the range: nothing grows beyond the range, nor, by the margin, into a ceiling. Channels that
do reach a ceiling keep a = 1. For given steps each channel chooses its own a and b; the steps are searched, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SHARES = np.array([1, 0.75, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.06, 0.03, 0.015])  # of the largest scale allowed
_TRIALS = (0.15, 0.3, 0.5, 0.7, 0.85, 1.18, 1.4, 2.0, 3.0, 6.0)  # of a step
_ROUNDS = 4
_LARGEST = 64.0
_MARGIN = 1.5
_TINY = 1e-12


@dataclass(frozen=True)
class Seen:
    """What the data showed of a tensor's channels: largest value and variance of each."""

    largest: Floats
    variance: Floats


@dataclass(frozen=True)
class Choice:
    """Scales of the channels between E and D (`first`) and between D and P (`second`), and the expected gain in dB."""

    first: Floats
    second: Floats
    gain_db: float


def choose_scales(
    weights: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], seen: tuple[Seen, Seen, Seen], ceilings: tuple[float, float]
) -> Choice:
    """Return the scales that lose least.

    Args:
        weights: of E [c, i, …], D [c, 1, …] and P [m, c, …].
        seen: what E, D and P read.
        ceilings: of what D and P read.
    """
    problem = _Problem(weights, seen, ceilings)
    steps = problem.peaks.max(axis=1)  # the largest absolute weight of each tensor
    before = problem.cost(steps, unscaled=True)[0]
    cost, chosen = problem.cost(steps)
    for _, place, factor in product(range(_ROUNDS), range(3), _TRIALS):
        trial = steps.copy()
        trial[place] *= factor
        tried, pair = problem.cost(trial)
        if tried < cost:
            cost, chosen, steps = tried, pair, trial
    if not np.isfinite(cost) or cost >= before:
        ones = np.ones(problem.peaks.shape[1])
        return Choice(ones, ones, 0.0)
    return Choice(*problem.scales(chosen), 10 * float(np.log10(before / cost)))


class _Problem:
    """The error of a block as a function of the steps, each channel with its best pair of scales; arrays are [c, a, b]."""

    def __init__(self, weights: tuple[NDArray[Any], ...], seen: tuple[Seen, Seen, Seen], ceilings: tuple[float, float]) -> None:
        expand, depthwise, project = (weight.astype(np.float64) for weight in weights)
        channels = depthwise.shape[0]
        columns = np.moveaxis(project, 1, 0).reshape(channels, -1)
        filters = depthwise.reshape(channels, -1)
        self.peaks = np.stack(
            [np.abs(expand.reshape(channels, -1)).max(axis=1), np.abs(filters).max(axis=1), np.abs(columns).max(axis=1)]
        )
        self.ranges = [min(ceiling, float(part.largest.max())) for ceiling, part in zip(ceilings, seen[1:], strict=True)]
        self.first, self.second = (
            _candidates(part, ceiling, width) for part, ceiling, width in zip(seen[1:], ceilings, self.ranges, strict=True)
        )
        self.given = float(seen[0].variance.sum()) * float(np.prod(expand.shape[2:]))
        self.columns, self.filters = ((part**2).sum(axis=1)[:, None, None] for part in (columns, filters))
        self.sizes = filters.shape[1], columns.shape[1]
        self.variances = [part.variance[:, None, None] + _TINY for part in seen[1:]]

    def cost(self, steps: Floats, *, unscaled: bool = False) -> tuple[float, NDArray[np.int64]]:
        """Return the error for these largest weights, infinite if a channel finds no scales, and the pairs chosen."""
        ones = np.ones((self.peaks.shape[1], 1, 1))
        a, b = (ones, ones) if unscaled else (self.first[:, :, None], self.second[:, None, :])
        s, t = np.square(steps / 127) / 12, np.square(np.array(self.ranges) / 255) / 12
        error = self.columns * self.filters * (s[0] * self.given + t[0]) / a**2
        error = error + self.columns * (self.sizes[0] * s[1] * self.variances[0] * a**2 + t[1]) / b**2
        error = error + self.sizes[1] * s[2] * self.variances[1] * b**2
        limits = steps * (1 + 1e-6)
        peaks = self.peaks[:, :, None, None]
        fits = (peaks[0] * a <= limits[0]) & (peaks[1] * b / a <= limits[1]) & (peaks[2] / b <= limits[2])
        error = np.where(fits, error, np.inf).reshape(error.shape[0], -1)
        best = error.argmin(axis=1)
        return float(error[np.arange(best.size), best].sum()), best

    def scales(self, chosen: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the scales behind the numbers that `cost` gave."""
        rows = np.arange(chosen.size)
        return self.first[rows, chosen // self.second.shape[1]], self.second[rows, chosen % self.second.shape[1]]


def _candidates(seen: Seen, ceiling: float, width: float) -> Floats:
    """Return the scales each channel may take, [c, shares]; 1 alone for those that reach the ceiling."""
    reach = np.maximum(seen.largest * (_MARGIN if np.isfinite(ceiling) else 1.0), 1e-3)
    free = reach < ceiling
    most = np.where(free, np.clip(width / reach, 1.0, _LARGEST), 1.0)[:, None]
    scaled = np.concatenate([np.ones_like(most), most * _SHARES], axis=1)
    return np.where(free[:, None], scaled, 1.0)
