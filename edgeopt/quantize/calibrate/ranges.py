"""From statistics to ranges: which [low, high] an integer grid should span.

min-max         everything that was seen.
moving-average  the averaged extremes of the batches: a rare outlier counts less.
percentile      the interval from the quantiles (100 - p)/2 to (100 + p)/2, in percent.
mse             the interval with the least expected squared error E[(x - q(x))²], rounding and clipping together (as in
                Banner et al., https://arxiv.org/abs/1810.05723, but on the histogram instead of a fitted density). Within a bin
                the values are evenly spread, so both parts have closed forms: with x in steps of the grid, k = round(x) and
                r = x - k, the integral of the squared rounding error up to x is k/12 + r³/3. Where an activation function f
                stands between the tensor and its consumers (`response.py`), E[(f(x) - f(q(x)))²] is minimized instead.
entropy         the interval whose quantized distribution is nearest to the clipped original one in the Kullback-Leibler
                divergence (Migacz, "8-bit inference with TensorRT", GTC 2017), on 4,096 linear bins, so that 256 quantized
                levels hold 16 bins each.

Every range holds zero, since padding and ReLU need it exactly. One without width, where nearly all values are zero, gives
min-max. 16-bit grids have steps finer than the bins: there clipping never pays, and `entropy` gives min-max.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgeopt.quantize.affine import Grid, Interval
from edgeopt.quantize.calibrate.histogram import Histogram, Masses
from edgeopt.quantize.calibrate.response import Function
from edgeopt.quantize.calibrate.statistics import TensorStatistics

Method = Literal["min-max", "moving-average", "percentile", "mse", "entropy"]
METHODS: tuple[Method, ...] = ("min-max", "moving-average", "percentile", "mse", "entropy")
Floats = NDArray[np.float64]

_STEPS = (0.78 ** np.arange(1, 14), np.linspace(0.82, 1.18, 7), np.linspace(0.96, 1.04, 5))
_BOTH = ((True, True),)  # which ends of the interval move
_EACH = ((True, False), (False, True))
_CELLS = 64  # to a step of the grid over all values; bins that are narrower are joined
_LINEAR_BINS = 4096
_WITHIN = (np.arange(4) + 0.5) / 4  # a bin is up to two steps of an 8-bit grid wide: four points stand for its values


def choose_range(
    statistics: TensorStatistics,
    method: Method,
    grid: Grid,
    *,
    percentile: float = 99.99,
    response: Function | None = None,
) -> Interval:
    """Return the [low, high] that `grid` should span for the tensor, by `method`.

    Args:
        statistics: of the tensor.
        method: as above.
        grid: bits and symmetry.
        percentile: for that method, in percent.
        response: for `mse`, the function whose result the consumers of the tensor see.

    Raises:
        ValueError: no value was seen, or the method needs a histogram that was not kept.
    """
    if statistics.count == 0:
        raise ValueError("no values were seen")
    full = grid.widen((statistics.minimum, statistics.maximum))
    if method == "min-max" or full[0] == full[1]:
        return full
    if method == "moving-average":
        return _with_width(grid.widen(statistics.moving.range), full)
    if statistics.histogram is None:
        raise ValueError(f"{method} needs a histogram, which was not kept")
    if method == "percentile":
        if percentile >= 100.0:
            return full
        low, high = quantiles(statistics.histogram, percentile)
        return _with_width(grid.widen((max(low, statistics.minimum), min(high, statistics.maximum))), full)
    masses = statistics.histogram.masses()
    if method == "mse":
        masses = merged(masses, (full[1] - full[0]) / grid.steps / _CELLS)
        return _least_error(masses, full, grid) if response is None else _least_response_error(masses, full, grid, response)
    return _least_divergence(masses, full, grid) if grid.bits <= 8 else full


def _with_width(interval: Interval, full: Interval) -> Interval:
    """Return an interval, or where nearly all values are zero, so that it has no width, the full one."""
    return full if interval[0] == interval[1] else interval


def quantiles(histogram: Histogram, percentile: float) -> Interval:
    """Return the values between which `percentile` percent of the counted ones lie, the rest split between both ends."""
    masses = histogram.masses()
    edges = np.concatenate(([0.0], np.cumsum(masses.count)))
    tail = (100.0 - percentile) / 200.0 * edges[-1]
    return _value_at(masses, edges, tail), _value_at(masses, edges, edges[-1] - tail)


def _value_at(masses: Masses, edges: Floats, rank: float) -> float:
    index = int(np.clip(np.searchsorted(edges, rank, side="right") - 1, 0, masses.count.size - 1))
    inside = (rank - edges[index]) / masses.count[index]
    return float(masses.low[index] + inside * (masses.high[index] - masses.low[index]))


def merged(masses: Masses, width: float) -> Masses:
    """Return the masses with bins narrower than `width` joined in cells of that width; zero stays a bin of its own.

    Bins are spaced logarithmically: nearly all of them lie within one step of the grid around zero, where they cost time and
    tell nothing.
    """
    narrow = masses.high - masses.low < width
    cell = np.where(masses.low == masses.high, 0.5, np.floor(0.5 * (masses.low + masses.high) / width))
    first = np.ones(cell.size, dtype=np.bool_)
    first[1:] = (cell[1:] != cell[:-1]) | ~narrow[1:] | ~narrow[:-1]
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], cell.size) - 1
    return Masses(masses.low[starts], masses.high[ends], np.add.reduceat(masses.count, starts))


def squared_error(masses: Masses, interval: Interval, grid: Grid) -> float:
    """Return the expected squared error, summed over all values, of quantizing `masses` with `grid` over `interval`."""
    low, high = interval
    step = (high - low) / grid.steps
    edges = masses.edges  # the antiderivative of the error, at both ends of every bin
    inside = step**3 * _sawtooth(np.clip(edges, low, high) / step)
    beyond = _cube(np.maximum(edges - high, 0.0)) - _cube(np.maximum(low - edges, 0.0))
    sums = inside + beyond
    return float(np.dot(masses.density, sums[1] - sums[0]))


def _sawtooth(x: Floats) -> Floats:
    """Return the integral of (t - round(t))² from 0 to x."""
    nearest = np.round(x)
    rest = x - nearest
    return np.asarray(nearest / 12.0 + rest * rest * rest / 3.0, dtype=np.float64)  # (a power of 3 takes ten times as long)


def _cube(x: Floats) -> Floats:
    return np.asarray(x * x * x / 3.0, dtype=np.float64)


def _search(cost: Callable[[Interval], float], full: Interval, grid: Grid) -> Interval:
    """Return the interval inside `full` of least cost: one end after the other, first far, then near."""
    best, least = full, cost(full)
    for factors in _STEPS:
        for ends in _BOTH if grid.symmetric else _EACH:
            for candidate in [_scaled(best, ends, factor, full) for factor in factors]:
                if (found := cost(candidate)) < least:
                    best, least = candidate, found
    return best


def _scaled(interval: Interval, ends: tuple[bool, bool], factor: float, full: Interval) -> Interval:
    low = max(interval[0] * factor, full[0]) if ends[0] else interval[0]
    high = min(interval[1] * factor, full[1]) if ends[1] else interval[1]
    return low, high


def _least_error(masses: Masses, full: Interval, grid: Grid) -> Interval:
    return _search(lambda interval: squared_error(masses, interval, grid), full, grid)


def response_error(points: Points, interval: Interval, grid: Grid, response: Function) -> float:
    """Return Σ count · (f(x) - f(q(x)))² over the points x, q rounding to `grid` over `interval`."""
    low, high = interval
    step = (high - low) / grid.steps
    zero = round(-low / step)
    levels = response(np.asarray((np.arange(grid.steps + 1) - zero) * step, dtype=np.float64))
    index = np.clip(np.round(points.x / step) + zero, 0, grid.steps).astype(np.int64)
    return float(np.dot(points.count, (points.y - levels[index]) ** 2))


@dataclass(frozen=True)
class Points:
    """A distribution as weighted points: `count` values at each `x`, where the response is `y`."""

    x: Floats
    y: Floats
    count: Floats


def points_of(masses: Masses, response: Function) -> Points:
    """Return four points for each bin, with what the function makes of them."""
    x = ((masses.high - masses.low)[:, None] * _WITHIN + masses.low[:, None]).reshape(-1)
    x = np.asarray(x, dtype=np.float64)
    return Points(x, response(x), np.repeat(masses.count / _WITHIN.size, _WITHIN.size))


def _least_response_error(masses: Masses, full: Interval, grid: Grid, response: Function) -> Interval:
    """Search as for the plain error, first from both whole sides: the function may be flat over most of one of them."""
    points = points_of(masses, response)
    return _search(lambda interval: response_error(points, interval, grid, response), full, grid)


def _least_divergence(masses: Masses, full: Interval, grid: Grid) -> Interval:
    edges = np.linspace(full[0], full[1], _LINEAR_BINS + 1)
    linear = _rebin(masses, edges)

    def cost(interval: Interval) -> float:
        first = int(np.searchsorted(edges, interval[0], side="right")) - 1
        last = int(np.searchsorted(edges, interval[1], side="left"))
        return _divergence(linear, max(first, 0), last, 1 << grid.bits)

    return _search(cost, full, grid)


def _rebin(masses: Masses, edges: Floats) -> Floats:
    """Spread the masses over linear bins: differences of the cumulative distribution at the edges."""
    knots = np.stack((masses.low, masses.high), axis=1).reshape(-1)  # flat in the gaps between occupied bins
    total = np.concatenate(([0.0], np.cumsum(masses.count)))
    heights = np.stack((total[:-1], total[1:]), axis=1).reshape(-1)
    return np.asarray(np.diff(np.interp(edges, knots, heights, left=0.0, right=total[-1])), dtype=np.float64)


def _divergence(linear: Floats, first: int, last: int, levels: int) -> float:
    """Return KL(P || Q): P is `linear` cut to [first, last) with the rest heaped on its ends, Q its quantization."""
    inside = linear[first:last]
    if inside.size < levels or inside.sum() == 0:
        return float("inf")
    original = inside.copy()
    original[0] += linear[:first].sum()
    original[-1] += linear[last:].sum()
    group = np.arange(inside.size) * levels // inside.size
    occupied = inside > 0
    filled = np.maximum(np.bincount(group[occupied], minlength=levels), 1)
    mass = np.bincount(group, weights=inside, minlength=levels)
    quantized = np.where(occupied, (mass / filled)[group], 0.0)
    p, q = original / original.sum(), quantized / quantized.sum()
    smooth = 1e-9
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], smooth))))
