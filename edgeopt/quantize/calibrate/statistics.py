"""What is kept of one tensor while samples stream by, and how two parts of a stream merge.

Exactly as in one pass: counts, extremes, histograms, extremes of channels. Up to the last digits of float64: sums and moving
averages. As evenly spread, but other ones: sampled rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.quantize.calibrate.histogram import Histogram
from edgeopt.quantize.calibrate.rows import RowSample


@dataclass
class MovingAverage:
    """An exponential moving average of the batches' minima and maxima, with the bias of its start taken out.

    With momentum m the n-th batch enters with weight (1 - m)·m^(n - i); `weight` is the sum of those weights, by which the
    sums are divided (Kingma & Ba, https://arxiv.org/abs/1412.6980, section 3). Kept as sums it merges exactly: the earlier
    part is scaled by m^(batches of the later one).
    """

    momentum: float = 0.9
    low: float = 0.0
    high: float = 0.0
    weight: float = 0.0
    batches: int = 0

    def add(self, low: float, high: float) -> None:
        """Take in the minimum and maximum of one more batch."""
        self.merge(MovingAverage(self.momentum, (1 - self.momentum) * low, (1 - self.momentum) * high, 1 - self.momentum, 1))

    def merge(self, later: MovingAverage) -> None:
        """Append the batches that `later` saw."""
        decay = self.momentum**later.batches
        self.low = self.low * decay + later.low
        self.high = self.high * decay + later.high
        self.weight = self.weight * decay + later.weight
        self.batches += later.batches

    @property
    def range(self) -> tuple[float, float]:
        """The averaged (minimum, maximum)."""
        return self.low / self.weight, self.high / self.weight


@dataclass
class Channels:
    """Per-channel extremes and sums along one axis (negative: counted from the last)."""

    axis: int
    low: NDArray[np.float32] | None = None
    high: NDArray[np.float32] | None = None
    total: NDArray[np.float64] | None = None
    count: int = 0

    def add(self, values: NDArray[Any]) -> tuple[float, float]:
        """Take in one array whose size along the axis never changes; return its smallest and largest value."""
        others = tuple(index for index in range(values.ndim) if index != self.axis % values.ndim)
        size = values.shape[self.axis]
        low, high = values.min(axis=others), values.max(axis=others)
        total = values.sum(axis=others, dtype=np.float64)
        self.merge(Channels(self.axis, low, high, total, values.size // size))
        return float(low.min()), float(high.max())

    def merge(self, other: Channels) -> None:
        """Take in what `other` saw."""
        if other.low is None or other.high is None or other.total is None:
            return
        if self.low is None or self.high is None or self.total is None:
            self.low, self.high, self.total, self.count = other.low, other.high, other.total, other.count
            return
        self.low = np.minimum(self.low, other.low)
        self.high = np.maximum(self.high, other.high)
        self.total = self.total + other.total
        self.count += other.count

    @property
    def extremes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The smallest and the largest value of each channel."""
        if self.low is None or self.high is None:
            raise ValueError("no values were seen")
        return self.low, self.high

    @property
    def largest(self) -> NDArray[np.float64]:
        """The largest absolute value of each channel."""
        if self.low is None or self.high is None:
            raise ValueError("no values were seen")
        return np.maximum(np.abs(self.low), np.abs(self.high)).astype(np.float64)

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each channel."""
        if self.total is None:
            raise ValueError("no values were seen")
        return self.total / self.count


@dataclass
class TensorStatistics:
    """Exact extremes, moving average, histogram and (when an axis was asked for) per-channel extremes of one tensor."""

    count: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    moving: MovingAverage = field(default_factory=MovingAverage)
    histogram: Histogram | None = None
    channels: Channels | None = None
    sample: RowSample | None = None

    def add(self, values: NDArray[Any], *, counted: int | None = None) -> None:
        """Take in one batch of values of any shape; an empty one changes nothing.

        Args:
            values: of the tensor.
            counted: the number of them that are enough for the histogram; None: all.
        """
        if values.size == 0:
            return
        low, high = self.channels.add(values) if self.channels else (float(values.min()), float(values.max()))
        self.count += values.size
        self.minimum = float(np.minimum(self.minimum, low))  # unlike min(), which would lose a NaN
        self.maximum = float(np.maximum(self.maximum, high))
        self.moving.add(low, high)
        if self.histogram is not None:
            self.histogram.add(values, enough=counted)
        if self.sample is not None:
            self.sample.add(values)

    def merge(self, later: TensorStatistics) -> None:
        """Append what `later` saw of the same tensor; both must have been set up alike."""
        self.count += later.count
        self.minimum, self.maximum = min(self.minimum, later.minimum), max(self.maximum, later.maximum)
        self.moving.merge(later.moving)
        if self.histogram is not None and later.histogram is not None:
            self.histogram.merge(later.histogram)
        if self.channels is not None and later.channels is not None:
            self.channels.merge(later.channels)
        if self.sample is not None and later.sample is not None:
            self.sample.merge(later.sample)
