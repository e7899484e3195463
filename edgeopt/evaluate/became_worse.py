"""Compare two evaluations of the same samples, made at different times: which models became worse.

Both evaluations kept their metric unit by unit: which answers were right, or the metric on units drawn with replacement,
the same draws in both. So a model's two values are compared in pairs, as if both had been evaluated together
(`edgeopt.tasks.comparison`). What was evaluated on other samples cannot be compared in pairs and is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from edgeopt.config import Options
from edgeopt.documents import read_json
from edgeopt.errors import DataError
from edgeopt.evaluate.stage import Evaluation
from edgeopt.tasks.comparison import bounds, difference_bounds, mcnemar
from edgeopt.verdict.changes import Change, Finding, Regressions


class EvaluationCompareConfig(Options):
    """How certain a change must be to count."""

    false_alarm_rate: float = 0.05
    """Share of comparisons of equally good models that may report a change."""


_DEFAULTS = EvaluationCompareConfig()


class _Units(BaseModel):
    """How a metric came about, unit by unit."""

    model_config = ConfigDict(frozen=True)

    larger_is_better: bool
    right: str | None = None
    drawn: list[float] | None = None


class _Score(BaseModel):
    """What is read of a model; other keys are ignored."""

    model_config = ConfigDict(frozen=True)

    name: str
    metric: str
    value: float | None = None
    units: _Units | None = None


class StoredEvaluation(BaseModel):
    """What is read of an evaluation; other keys are ignored."""

    model_config = ConfigDict(frozen=True)

    task: str
    samples: int
    models: list[_Score]
    data: str = ""


def read_evaluation(path: Path) -> StoredEvaluation:
    """Read an evaluation as ``edgeopt evaluate --format json`` writes it.

    Raises:
        DataError: it is not one.
    """
    values = read_json(path, error=DataError, what="an evaluation")
    try:
        return StoredEvaluation.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path}: not an evaluation: {key}: {first['msg']}; give a file that 'edgeopt evaluate --format json' wrote"
        ) from error


def stored(found: Evaluation, number: int) -> StoredEvaluation:
    """Return one model of an evaluation as an evaluation of its own."""
    return StoredEvaluation.model_validate({**asdict(found), "models": [asdict(found.models[number])]})


def is_evaluation(path: Path) -> bool:
    """Return whether a JSON file is an evaluation rather than a profile."""
    values = read_json(path, error=DataError, what="an evaluation or a profile")
    return isinstance(values, dict) and isinstance(values.get("models"), list) and "task" in values


def compare_evaluations(
    base: StoredEvaluation, new: StoredEvaluation, *, config: EvaluationCompareConfig = _DEFAULTS
) -> Regressions:
    """Compare the models of two evaluations by name; where each has one model, those two.

    Raises:
        DataError: they have no model in common, or are of different tasks.
    """
    if base.task != new.task:
        raise DataError(f"the evaluations are of different tasks: {base.task} then, {new.task} now")
    before = {model.name: model for model in base.models}
    pairs = [(before[model.name], model) for model in new.models if model.name in before]
    if not pairs and len(base.models) == len(new.models) == 1:
        pairs = [(base.models[0], new.models[0])]
    if not pairs:
        raise DataError(f"the two evaluations share no model: {_names(base.models)} against {_names(new.models)}")
    same_data = base.data == new.data and base.samples == new.samples
    notes = [] if same_data else [f"the samples differ ({base.samples:,} then, {new.samples:,} now): nothing is paired"]
    gone = sorted(set(before) - {old.name for old, _ in pairs})
    notes += [f"not in the new evaluation: {', '.join(gone)}"] if gone else []
    error = config.false_alarm_rate / len(pairs)
    return Regressions.of(config.false_alarm_rate, [_change(old, now, error, paired=same_data) for old, now in pairs], notes)


def _names(models: Sequence[_Score]) -> str:
    return ", ".join(model.name for model in models) or "none"


def _change(old: _Score, now: _Score, error: float, *, paired: bool) -> Change:
    def change(finding: Finding, reason: str) -> Change:
        return Change(now.name, now.metric, old.value, now.value, finding, reason)

    if old.metric != now.metric:
        return change("undecided", f"{old.metric} then, {now.metric} now")
    if old.value is None or now.value is None:
        return change("undecided", "one of the evaluations has no value")
    if not paired or old.units is None or now.units is None:
        return change("undecided", "the answers to the same samples are not known: no pairs to compare")
    low, high, how = _difference(old.units, now.units, error)
    difference = f"{now.value - old.value:+.4f} ({low:+.4f} to {high:+.4f}), {how}"
    if math.isnan(low):
        return change("undecided", "no pairs to compare")
    lost, gained = (high < 0, low > 0) if now.units.larger_is_better else (low > 0, high < 0)
    return change("regression" if lost else "improvement" if gained else "same", difference)


def _difference(old: _Units, now: _Units, error: float) -> tuple[float, float, str]:
    """Return the ends of the interval of the difference, and how it was found; NaN: there are no pairs."""
    if old.right and now.right and len(old.right) == len(now.right):
        lost = sum(one == "1" and other == "0" for one, other in zip(old.right, now.right, strict=True))
        gained = sum(one == "0" and other == "1" for one, other in zip(old.right, now.right, strict=True))
        low, high = difference_bounds(lost, gained, len(old.right), 1 - error)
        return low, high, f"{lost} answers lost, {gained} gained of {len(old.right):,}, p = {mcnemar(lost, gained):.2g}"
    if old.drawn and now.drawn and len(old.drawn) == len(now.drawn):
        drawn = np.asarray(now.drawn) - np.asarray(old.drawn)
        return *bounds(drawn, 1 - error), "bootstrap of pairs"
    return math.nan, math.nan, ""
