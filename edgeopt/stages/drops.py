"""Accuracy that each variant loses compared with the first one, sample by sample, for budgets on ``accuracy_drop``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeopt import progress
from edgeopt.data.labels import missing_classes
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.evaluate.accuracy import right
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
        DataError: the samples have no labels, or impossible ones, or a model's first output is not logits [N, classes].
    """
    if samples.labels is None:
        raise DataError(
            "a budget on accuracy_drop needs labelled samples: an .npz file with an integer array called 'labels', "
            "or a data set that has labels"
        )
    answers = {}
    for name, path in models.items():
        output, values = next(iter(onnx_outputs(path, samples, provider=target.provider, name=name).items()))
        answers[name] = right(values, samples.labels, where=f"accuracy_drop: output '{output}' of {name}")
        if len(answers) == 1 and (warning := missing_classes(samples.labels, np.arange(values.shape[1]), where="the data")):
            progress.note(f"warning: {warning}")
    baseline = next(iter(answers.values()))
    return {name: AccuracyDrop.of(baseline, own) for name, own in answers.items()}
