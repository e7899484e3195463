"""A metric's name, direction and scale, and its values as people read them: what verdicts and reports know of a task."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edgeopt import units
from edgeopt.interval import Interval

_LEAST = 1e-12  # a metric whose logarithm is taken


class Scale(StrEnum):
    """What the values of a metric mean, and so what a point of it is."""

    SHARE = "share"
    """0 to 1, printed in percent; a point is 0.01."""
    COEFFICIENT = "coefficient"
    """-1 to 1, such as a correlation; a point is 0.01."""
    RATIO = "ratio"
    """Positive without an upper bound, such as a perplexity; a point is one percent of the value."""


@dataclass(frozen=True)
class Metric:
    """Name, direction and scale of a metric."""

    name: str
    scale: Scale = Scale.SHARE
    larger_is_better: bool = True

    def merit(self, value: float) -> float:
        """Return a number that is larger for a better model; 0.01 of it is a point."""
        plain = math.log(max(value, _LEAST)) if self.scale is Scale.RATIO else value
        return plain if self.larger_is_better else -plain

    def value(self, merit: float) -> float:
        """Return the value that has this merit."""
        plain = merit if self.larger_is_better else -merit
        return math.exp(plain) if self.scale is Scale.RATIO else plain

    def points_lost(self, before: float, after: float) -> float:
        """Return the points that `after` is worse than `before`; negative: it is better."""
        return 100 * (self.merit(before) - self.merit(after))

    def amount(self, points: float) -> str:
        """Return how much is lost (or gained) as people read it: "7.20 points", of a ratio the share "7.5 %"."""
        return f"{100 * abs(math.expm1(points / 100)):.1f} %" if self.scale is Scale.RATIO else f"{abs(points):.2f} points"

    def signed(self, points: float) -> str:
        """Return `amount` with a minus before what is gained."""
        return f"{'-' if points < 0 else ''}{self.amount(points)}"

    def change(self, points: float) -> str:
        """Return what happened to a model: "loses 1.50 points of accuracy", "is 7.5 % worse in perplexity"."""
        if not points:
            return "loses nothing"
        if self.scale is Scale.RATIO:
            return f"is {self.amount(points)} {'worse' if points > 0 else 'better'} in {self.name}"
        return f"{'loses' if points > 0 else 'gains'} {self.amount(points)} of {self.name}"

    def text(self, value: float) -> str:
        """Return a value as people read it: a share in percent, others as they are."""
        return f"{100 * value:.2f} %" if self.scale is Scale.SHARE else f"{value:.4f}"

    def interval(self, value: Interval | None) -> str:
        """Return a value with its interval: "98.9 % [97.4, 99.5]" of a share, "0.8203 [0.8012, 0.8377]" of others."""
        if value is None or self.scale is Scale.SHARE:
            return units.percent_interval(value)
        ends = "" if value.low is None or value.high is None else f" [{value.low:.4f}, {value.high:.4f}]"
        return f"{value.value:.4f}{ends}"

    def difference(self, value: float) -> str:
        """Return a difference of two values: "−0.28 points" of a share, "+0.0031" of others."""
        return units.points(value) if self.scale is Scale.SHARE else f"{value:+.4f}".replace("-", "−")

    def ends(self, low: float, high: float) -> str:
        """Return the interval of a difference: "−0.70 to +0.11"."""
        texts = [f"{100 * end:+.2f}" if self.scale is Scale.SHARE else f"{end:+.4f}" for end in (low, high)]
        return " to ".join(texts).replace("-", "−")

    @property
    def title(self) -> str:
        """Return the name as a sentence or a heading begins with it: "Accuracy", "mIoU" as it is."""
        return self.name[:1].upper() + self.name[1:] if self.name.islower() else self.name

    @property
    def axis(self) -> str:
        """Return the title of an axis, with the unit: "accuracy (%)"."""
        return f"{self.name} (%)" if self.scale is Scale.SHARE else self.name

    def plotted(self, value: float) -> float:
        """Return a value in the unit of `axis`."""
        return 100 * value if self.scale is Scale.SHARE else value


ACCURACY = Metric("accuracy")
UNNAMED = Metric("metric", Scale.COEFFICIENT)
"""What is known of a function of the user's: larger is better."""


@dataclass(frozen=True)
class Merit:
    """A function that gives how good the ONNX model at a path is, larger is better, and whose merit that is."""

    metric: Metric
    measure: Callable[[Path], float]

    def __call__(self, path: Path) -> float:
        """Return the merit of the model at `path`."""
        return self.measure(path)
