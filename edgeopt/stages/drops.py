"""Accuracy that each variant loses compared with the first one, sample by sample, for budgets on ``accuracy_drop``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.evaluate.outputs import onnx_outputs
from edgeopt.targets.target import Target
from edgeopt.verdict.accuracy_drop import AccuracyDrop
from edgeopt.verdict.budget import Budget


def wanted(budgets: Sequence[str]) -> bool:
    """Return whether one of the budget expressions is about accuracy."""
    return any(Budget.parse(text).metric == "accuracy_drop" for text in budgets)


def accuracy_drops(models: Mapping[str, Path], samples: Samples, target: Target) -> dict[str, AccuracyDrop]:
    """Run every model on `samples` with the target's provider; the first model is the baseline.

    Raises:
        DataError: the samples have no labels, or a model's first output is not logits [N, classes].
    """
    if samples.labels is None:
        raise DataError(
            "a budget on accuracy_drop needs labelled samples: an .npz file with an integer array called 'labels', "
            "or a data set that has labels"
        )
    right = {}
    for name, path in models.items():
        output, values = next(iter(onnx_outputs(path, samples, provider=target.provider, name=name).items()))
        if values.ndim != 2 or len(values) != len(samples):
            raise DataError(
                f"accuracy_drop: output '{output}' of {name} has shape {list(values.shape)}; [samples, classes] is needed"
            )
        right[name] = values.argmax(axis=1) == samples.labels
    baseline = next(iter(right.values()))
    return {name: AccuracyDrop.of(baseline, own) for name, own in right.items()}
