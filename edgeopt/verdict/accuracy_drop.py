"""Accuracy (or another metric) lost by a variant on the same samples as its baseline, and the verdict on a budget for it.

Idea. Both answers are known for every sample, so only samples where one of them is right matter: `lost` (right before, wrong
now) and `gained` (the other way round) of n. The drop is (lost - gained) / n, and its interval is Wald's for paired
proportions with half a sample added to each cell (Agresti & Min, Statistics in Medicine 24, 2005, section 3), which covers
well even where few samples differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeopt.metric import Metric, Scale
from edgeopt.verdict.budget import Budget
from edgeopt.verdict.findings import Answer, Judgement

_ROUNDING = 1e-9  # points; differences this small are float64's own


@dataclass(frozen=True)
class AccuracyDrop:
    """Numbers of `lost` and `gained` among `n` samples against the baseline, which got `baseline` right (None: unknown)."""

    n: int
    lost: int
    gained: int
    baseline: int | None = None

    @classmethod
    def of(cls, baseline_right: NDArray[Any], right: NDArray[Any]) -> AccuracyDrop:
        """Compare two boolean arrays of shape [n]: the samples that the baseline and the variant got right."""
        before, now = np.asarray(baseline_right, bool), np.asarray(right, bool)
        return cls(len(before), int((before & ~now).sum()), int((~before & now).sum()), int(before.sum()))

    @property
    def accuracies(self) -> tuple[float, float] | None:
        """The accuracies in percent, the baseline's first, None if they are not known."""
        if self.baseline is None:
            return None
        return 100 * self.baseline / self.n, 100 * (self.baseline - self.lost + self.gained) / self.n

    metric: ClassVar[str] = "accuracy"

    @property
    def value_text(self) -> str:
        """Return the accuracy now, such as "88.10 %"."""
        return "not known" if self.accuracies is None else f"{self.accuracies[1]:.2f} %"

    @property
    def points(self) -> float:
        """Return the drop on these samples in percentage points; negative: the variant is better."""
        return 100 * (self.lost - self.gained) / self.n

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return one-sided bounds of the drop on all samples like these, in points, each at `confidence`."""
        n, lost, gained = self.n + 2, self.lost + 0.5, self.gained + 0.5
        centre = (lost - gained) / n
        half = NormalDist().inv_cdf(confidence) * math.sqrt(max(0.0, (lost + gained) / n - centre**2) / n)
        return 100 * (centre - half), 100 * (centre + half)


@dataclass(frozen=True)
class MetricDrop:
    """What a metric that is no share of right answers loses on `n` samples, in points, and on samples drawn from them again."""

    n: int
    metric: str
    before: float
    after: float
    points: float
    resampled: tuple[float, ...]
    """Points lost on each resample; see `edgeopt.tasks.comparison`."""

    @property
    def value_text(self) -> str:
        """Return the metric's value now."""
        return f"{self.after:.4g}"

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return one-sided bounds of the drop on all samples like these, in points, each at `confidence`."""
        low, high = np.quantile(np.asarray(self.resampled), [1 - confidence, confidence])
        return float(low), float(high)


Drop = AccuracyDrop | MetricDrop


def judge_drop(budget: Budget, variant: str, drop: Drop | float | None) -> Judgement:
    """Judge an ``accuracy_drop`` budget; None: accuracy was not measured.

    A budget without ``@`` is about the evaluated samples; with ``@95%`` about all samples like them, at that confidence. A
    plain number of points has no samples, so it is used as it is.
    """
    if drop is None:
        reason = "no accuracy was measured; give labelled data"
        return Judgement(budget.expression, variant, "undecided", None, reason)
    points = drop if isinstance(drop, float | int) else drop.points
    met = budget.holds(points)
    if isinstance(drop, float | int):
        return Judgement(budget.expression, variant, "pass" if met else "fail", float(points), f"it is {points:.4g} points")
    low, high = drop.bounds(budget.confidence)
    sure = f"{low:.2f} to {high:.2f} on all samples like these, {100 * budget.confidence:.4g} % confidence in each direction"
    reason = f"{points:.4g} points {_counted(drop)}; {sure}"
    if not budget.asked:
        return Judgement(budget.expression, variant, "pass" if met else "fail", points, reason)
    holds = {budget.holds(low), budget.holds(high)}
    if len(holds) == 1:
        return Judgement(budget.expression, variant, "pass" if holds.pop() else "fail", points, reason)
    return Judgement(budget.expression, variant, "undecided", points, f"{reason}; more labelled samples are needed")


def _counted(drop: Drop) -> str:
    """Return on how many samples a drop was found, and between which values."""
    if isinstance(drop, MetricDrop):
        return f"of {drop.metric} on {drop.n:,} samples, from {drop.before:.4g} to {drop.after:.4g}"
    absolute = ", from {:.2f} to {:.2f} %".format(*drop.accuracies) if drop.accuracies else ""
    return f"on {drop.n:,} samples ({drop.lost} lost, {drop.gained} gained){absolute}"


def judge_lost(after: str, before: str, metric: Metric, values: tuple[float, float], *, allowed_points: float) -> Answer:
    """Judge what the model `after` may lose compared with `before`.

    Args:
        after: name of the model that is judged.
        before: name of the model that it is compared with.
        metric: which, on the same samples.
        values: of `before` and of `after`.
        allowed_points: points that may be lost.
    """
    drop, texts = metric.points_lost(*values), [metric.text(value) for value in values]
    allowed = metric.amount(allowed_points) if metric.scale is Scale.RATIO else f"{allowed_points:g}"
    reason = f"{after} {metric.change(drop)} against {before} ({allowed} allowed): {texts[1]} after {texts[0]}"
    return Answer("pass" if drop <= allowed_points + _ROUNDING else "fail", reason)


def judge_output_error(after: str, output: str, relative_error: float, *, allowed: float) -> Answer:
    """Judge how far `output` of the model `after` may be from the baseline's: root mean square, as a share."""
    reason = f"output '{output}' of {after} has a root-mean-square error of {relative_error:.2%} ({allowed:.2%} allowed)"
    return Answer("pass" if relative_error <= allowed else "fail", reason)
