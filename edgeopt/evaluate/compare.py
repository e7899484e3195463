"""Compare the models of a run on the same samples: accuracy, agreement, and where one diverges from the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeopt.data.outputs import Outputs
from edgeopt.data.samples import Samples
from edgeopt.evaluate.accuracy import accuracy, agreement, relative_rms_error
from edgeopt.evaluate.config import VerifyOptions

_SUSPECT_DB = 20.0


@dataclass(frozen=True)
class Variant:
    """One model's outputs on the evaluation samples, and its size."""

    name: str
    stage: str
    outputs: Outputs
    size_bytes: int | None
    parameters: int | None
    macs: int | None


@dataclass(frozen=True)
class VariantAccuracy:
    """Accuracy of a model; `agreement` is with the first variant, `None` where there are no classes (or no labels)."""

    name: str
    stage: str
    accuracy: float | None
    low: float | None
    high: float | None
    agreement: float | None
    size_bytes: int | None
    parameters: int | None
    macs: int | None


@dataclass(frozen=True)
class Divergence:
    """Difference between one model's outputs and those of the model it was made from.

    `first_tensor` is the first layer in the order of the graph whose quantization error is above a tenth of its signal (SQNR
    below 20 dB), None where no layer is, or none was measured.
    """

    source: str
    result: str
    output: str
    max_abs_error: float
    relative_error: float
    first_tensor: str | None
    layers: list[dict[str, Any]]


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


def diverge(source: Variant, result: Variant, layers: Sequence[Mapping[str, Any]] = ()) -> Divergence:
    """Return the difference of `result` from `source`, for the output with the largest error; `layers` are SQNR facts."""
    pairs = _paired(source.outputs, result.outputs)
    errors = {name: relative_rms_error(ours, theirs) for name, (theirs, ours) in pairs.items()}
    worst = max(errors, key=lambda name: errors[name])
    theirs, ours = pairs[worst]
    suspects = [str(layer["name"]) for layer in layers if layer["sqnr_db"] is not None and layer["sqnr_db"] < _SUSPECT_DB]
    return Divergence(
        source=source.name,
        result=result.name,
        output=worst,
        max_abs_error=float(np.max(np.abs(ours.astype(np.float64) - theirs))),
        relative_error=errors[worst],
        first_tensor=suspects[0] if suspects else None,
        layers=[{"tensor": layer["name"], "sqnr_db": layer["sqnr_db"]} for layer in layers],
    )


def _paired(source: Outputs, result: Outputs) -> dict[str, tuple[Any, Any]]:
    """Pair outputs by name, or, if each model has one output, those two."""
    if len(source) == len(result) == 1:
        (theirs,), (ours,) = source.values(), result.values()
        return {next(iter(result)): (theirs, ours)}
    return {name: (source[name], result[name]) for name in source if name in result}


def verdict(variants: Sequence[VariantAccuracy], divergence: Divergence, options: VerifyOptions) -> tuple[str, str]:
    """Return ("pass", "fail" or "undecided", the reason) for the last variant (int8) against the one before it (fp32).

    Without labels the outputs are compared; an accuracy that `options` asks for by name is then undecided.
    """
    before, after = variants[-2], variants[-1]
    if before.accuracy is not None and after.accuracy is not None:
        drop = 100 * (before.accuracy - after.accuracy)
        allowed = f"{options.max_drop_points:g} allowed"
        moved = f"loses {drop:.2f} points" if drop > 0 else f"gains {-drop:.2f} points" if drop < 0 else "loses nothing"
        said = f"{after.name} {moved} of accuracy against {before.name} ({allowed})"
        return ("pass" if drop <= options.max_drop_points + 1e-9 else "fail"), said
    passed = divergence.relative_error <= options.max_output_error
    reason = (
        f"output '{divergence.output}' of {after.name} has a root-mean-square error of {divergence.relative_error:.2%} "
        f"({options.max_output_error:.2%} allowed)"
    )
    if passed and "max_drop_points" in options.model_fields_set:
        lacks = f"max_drop_points = {options.max_drop_points:g} cannot be judged, since the samples have no labels"
        return "undecided", f"{lacks}; {reason}"
    return ("pass" if passed else "fail"), reason
