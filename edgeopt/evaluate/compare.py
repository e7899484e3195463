"""Compare the models of a run on the same samples: the task's metric, agreement, and where one diverges from the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.evaluate.config import VerifyOptions
from edgeopt.evaluate.lockstep import OutputError
from edgeopt.evaluate.result import Divergence, VariantAccuracy
from edgeopt.roles import Role
from edgeopt.tasks.comparison import interval, paired
from edgeopt.tasks.metric import Metric
from edgeopt.tasks.paired import Paired
from edgeopt.tasks.task import Answer, Task
from edgeopt.verdict.accuracy_drop import judge_lost, judge_output_error
from edgeopt.verdict.findings import Answer as Verdict

_SUSPECT_DB = 20.0
_ACCURACY = Metric("accuracy")


class Noisy(Protocol):
    """A layer whose output was compared: its signal-to-quantization-noise ratio."""

    @property
    def name(self) -> str:
        """Return the name of the layer."""
        ...

    @property
    def sqnr_db(self) -> float:
        """Return the ratio in decibels."""
        ...


@dataclass(frozen=True)
class Variant:
    """One model's answers to the evaluation samples, and its size."""

    name: str
    role: Role
    stage: str
    answers: Sequence[Answer]
    size_bytes: int | None
    parameters: int | None
    macs: int | None
    distances: Mapping[str, float] = field(default_factory=dict)
    """Means of the task's distances from the model it was made from."""


def compare_accuracy(
    variants: Sequence[Variant], samples: Samples, task: Task, options: VerifyOptions
) -> list[VariantAccuracy]:
    """Return each variant's metric where the samples have labels, its agreement with the first, and how it differs from it."""
    return compared(variants, samples, task, options)[0]


def compared(
    variants: Sequence[Variant], samples: Samples, task: Task, options: VerifyOptions
) -> tuple[list[VariantAccuracy], Paired | None]:
    """Return `compare_accuracy`, and how the last variant differs from the one before it; None: there are no labels."""
    first = variants[0]
    measured = [task.measure(item.answers, samples) for item in variants] if task.is_labelled(samples) else None
    rows = []
    for number, variant in enumerate(variants):
        found = interval(measured[number], options.confidence) if measured else None
        differs = None
        if measured and number:
            changed = task.changed(variant.answers, first.answers)
            differs = paired(measured[0], measured[number], changed=changed, confidence=options.confidence)
        rows.append(
            VariantAccuracy(
                name=variant.name,
                role=variant.role,
                stage=variant.stage,
                accuracy=found.value if found else None,
                low=found.low if found else None,
                high=found.high if found else None,
                agreement=task.agreement(variant.answers, first.answers),
                size_bytes=variant.size_bytes,
                parameters=variant.parameters,
                macs=variant.macs,
                paired=differs,
                distances=variant.distances,
            )
        )
    last = None
    if measured and len(variants) > 1:
        before, after = variants[-2:]
        changed = task.changed(after.answers, before.answers)
        last = paired(measured[-2], measured[-1], changed=changed, confidence=options.confidence)
    return rows, last


def diverge(source: str, result: str, errors: Mapping[str, OutputError], layers: Sequence[Noisy] = ()) -> Divergence:
    """Return how far `result` is from `source`, by the output that is off most; `layers` are those of quantization.

    Raises:
        DataError: they have no output in common.
    """
    if not errors:
        raise DataError(f"{result} and {source} have no output of one name and shape, so their outputs cannot be compared")
    worst = max(errors, key=lambda name: errors[name].relative)
    suspects = [layer.name for layer in layers if layer.sqnr_db < _SUSPECT_DB]
    return Divergence(
        source=source,
        result=result,
        output=worst,
        max_abs_error=errors[worst].max_abs_error,
        relative_error=errors[worst].relative,
        first_tensor=suspects[0] if suspects else None,
    )


def verdict(
    variants: Sequence[VariantAccuracy], divergence: Divergence, options: VerifyOptions, metric: Metric = _ACCURACY
) -> Verdict:
    """Return the verdict on the quantized model compared with the baseline.

    Without labels the outputs are compared; an accuracy that `options` asks for by name is then undecided.
    """
    before, after = (_of(variants, role) for role in (Role.BASELINE, Role.QUANTIZED))
    if before and after and before.accuracy is not None and after.accuracy is not None:
        values = before.accuracy, after.accuracy
        return judge_lost(after.name, before.name, metric, values, allowed_points=options.max_drop_points)
    answer = judge_output_error(
        divergence.result, divergence.output, divergence.relative_error, allowed=options.max_output_error
    )
    if answer.state == "pass" and "max_drop_points" in options.model_fields_set:
        return Verdict("undecided", f"{_unjudged(options.max_drop_points)}; {answer.reason}")
    return answer


def whole_verdict(
    variants: Sequence[VariantAccuracy], *, allowed_points: float, asked: bool = False, metric: Metric = _ACCURACY
) -> Verdict | None:
    """Return the verdict on the quantized model compared with the teacher; None: there is no teacher, or no accuracy.

    Where accuracy was `asked` for by name and there is none, the answer is undecided.
    """
    teacher, after = (_of(variants, role) for role in (Role.TEACHER, Role.QUANTIZED))
    if teacher is None or after is None:
        return None
    if teacher.accuracy is None or after.accuracy is None:
        return Verdict("undecided", f"the whole run's {_unjudged(allowed_points)}") if asked else None
    values = teacher.accuracy, after.accuracy
    return judge_lost(after.name, f"the {teacher.name}", metric, values, allowed_points=allowed_points)


def _unjudged(points: float) -> str:
    return f"max_drop_points = {points:g} cannot be judged, since the samples have no labels"


def _of(variants: Sequence[VariantAccuracy], role: Role) -> VariantAccuracy | None:
    return next((variant for variant in variants if variant.role is role), None)
