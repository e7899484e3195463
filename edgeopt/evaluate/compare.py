"""Compare the models of a run on the same samples: accuracy, agreement, and where one diverges from the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeopt.data.outputs import Outputs
from edgeopt.data.samples import Samples
from edgeopt.evaluate.accuracy import accuracy, agreement, relative_rms_error
from edgeopt.evaluate.config import VerifyOptions
from edgeopt.evaluate.result import Divergence, VariantAccuracy
from edgeopt.roles import Role
from edgeopt.verdict.accuracy_drop import judge_lost, judge_output_error
from edgeopt.verdict.findings import Answer

_SUSPECT_DB = 20.0


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
    """One model's outputs on the evaluation samples, and its size."""

    name: str
    role: Role
    stage: str
    outputs: Outputs
    size_bytes: int | None
    parameters: int | None
    macs: int | None


def compare_accuracy(variants: Sequence[Variant], samples: Samples, options: VerifyOptions) -> list[VariantAccuracy]:
    """Return each variant's accuracy where the samples have labels and the model one output of logits [N, classes]."""
    reference = _answers(variants[0])
    rows = []
    for variant in variants:
        logits, answers = _logits(variant, samples), _answers(variant)
        share = (
            None
            if logits is None or samples.labels is None
            else accuracy(logits, samples.labels, confidence=options.confidence)
        )
        rows.append(
            VariantAccuracy(
                name=variant.name,
                role=variant.role,
                stage=variant.stage,
                accuracy=share.value if share else None,
                low=share.low if share else None,
                high=share.high if share else None,
                agreement=None
                if answers is None or reference is None or answers.shape != reference.shape
                else agreement(answers, reference),
                size_bytes=variant.size_bytes,
                parameters=variant.parameters,
                macs=variant.macs,
            )
        )
    return rows


def _logits(variant: Variant, samples: Samples) -> np.ndarray[Any, Any] | None:
    if len(variant.outputs) != 1:
        return None
    values = next(iter(variant.outputs.values()))
    return values if values.ndim == 2 and len(values) == len(samples) else None


def _answers(variant: Variant) -> np.ndarray[Any, Any] | None:
    """Return the logits [N, classes] of samples, or of the positions (tokens) of samples."""
    values = next(iter(variant.outputs.values())) if len(variant.outputs) == 1 else None
    return values if values is not None and values.ndim == 2 and values.shape[1] > 1 else None


def diverge(source: Variant, result: Variant, layers: Sequence[Noisy] = ()) -> Divergence:
    """Return how far `result` is from `source`, by the output that is off most; `layers` are those of quantization."""
    pairs = _paired(source.outputs, result.outputs)
    errors = {name: relative_rms_error(ours, theirs) for name, (theirs, ours) in pairs.items()}
    worst = max(errors, key=lambda name: errors[name])
    theirs, ours = pairs[worst]
    suspects = [layer.name for layer in layers if layer.sqnr_db < _SUSPECT_DB]
    return Divergence(
        source=source.name,
        result=result.name,
        output=worst,
        max_abs_error=float(np.max(np.abs(ours.astype(np.float64) - theirs))),
        relative_error=errors[worst],
        first_tensor=suspects[0] if suspects else None,
    )


def _paired(source: Outputs, result: Outputs) -> dict[str, tuple[Any, Any]]:
    """Pair outputs by name, or, if each model has one output, those two."""
    if len(source) == len(result) == 1:
        (theirs,), (ours,) = source.values(), result.values()
        return {next(iter(result)): (theirs, ours)}
    return {name: (source[name], result[name]) for name in source if name in result}


def verdict(variants: Sequence[VariantAccuracy], divergence: Divergence, options: VerifyOptions) -> Answer:
    """Return the verdict on the quantized model compared with the baseline.

    Without labels the outputs are compared; an accuracy that `options` asks for by name is then undecided.
    """
    before, after = (_of(variants, role) for role in (Role.BASELINE, Role.QUANTIZED))
    if before and after and before.accuracy is not None and after.accuracy is not None:
        accuracies = (after.accuracy, before.accuracy)
        return judge_lost(after.name, before.name, accuracies, allowed_points=options.max_drop_points)
    answer = judge_output_error(
        divergence.result, divergence.output, divergence.relative_error, allowed=options.max_output_error
    )
    if answer.state == "pass" and "max_drop_points" in options.model_fields_set:
        return Answer("undecided", f"{_unjudged(options.max_drop_points)}; {answer.reason}")
    return answer


def whole_verdict(variants: Sequence[VariantAccuracy], *, allowed_points: float, asked: bool = False) -> Answer | None:
    """Return the verdict on the quantized model compared with the teacher; None: there is no teacher, or no accuracy.

    Where accuracy was `asked` for by name and there is none, the answer is undecided.
    """
    teacher, after = (_of(variants, role) for role in (Role.TEACHER, Role.QUANTIZED))
    if teacher is None or after is None:
        return None
    if teacher.accuracy is None or after.accuracy is None:
        return Answer("undecided", f"the whole run's {_unjudged(allowed_points)}") if asked else None
    accuracies = (after.accuracy, teacher.accuracy)
    return judge_lost(after.name, f"the {teacher.name}", accuracies, allowed_points=allowed_points)


def _unjudged(points: float) -> str:
    return f"max_drop_points = {points:g} cannot be judged, since the samples have no labels"


def _of(variants: Sequence[VariantAccuracy], role: Role) -> VariantAccuracy | None:
    return next((variant for variant in variants if variant.role is role), None)
