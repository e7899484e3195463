"""What each variant loses of the task's metric compared with the first one, for budgets on ``accuracy_drop``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError, RecipeError
from edgeopt.evaluate.lockstep import Evaluated, evaluate_together
from edgeopt.evaluate.outputs import onnx_model
from edgeopt.metric import Merit
from edgeopt.targets.target import Target
from edgeopt.tasks.comparison import drop
from edgeopt.tasks.metric import Measured
from edgeopt.tasks.outputs_only import OutputsOnly
from edgeopt.tasks.registry import task_for
from edgeopt.tasks.task import Task
from edgeopt.verdict.accuracy_drop import Drop
from edgeopt.verdict.budget import Budget


def wanted(budgets: Sequence[str]) -> bool:
    """Return whether one of the budget expressions is about accuracy."""
    return any(Budget.parse(text).metric == "accuracy_drop" for text in budgets)


def accuracy_drops(models: Mapping[str, Path], samples: Samples, target: Target, task: Task | None = None) -> dict[str, Drop]:
    """Run every model on `samples` with the target's provider; the first model is the baseline.

    Args:
        models: ONNX files by name.
        samples: labelled.
        target: whose provider runs them.
        task: what they are for; None: what the labels are for.

    Raises:
        RecipeError: there is one model alone.
        DataError: the samples have no labels, or impossible ones, or a model's outputs are not those of the task.
    """
    task = task or task_for(samples)
    if not task.is_labelled(samples):
        raise DataError(
            "a budget on accuracy_drop needs labelled samples: an .npz file with an integer array called 'labels', "
            "or a data set that has labels"
        )
    if len(models) < 2:
        raise RecipeError(
            "a budget on accuracy_drop compares with the first model: name the floating-point model before this one"
        )
    opened = [onnx_model(path, samples, provider=target.provider, name=name) for name, path in models.items()]
    found = evaluate_together(opened, task, [None] * len(opened))
    measured = [_measured(name, model, samples, task) for name, model in zip(models, found, strict=True)]
    for doubt in _doubts(found[0], samples, task):
        progress.note(doubt)
    return {name: drop(measured[0], own) for name, own in zip(models, measured, strict=True)}


def merits(samples: Samples, target: Target, task: Task) -> Merit:
    """Return a function that gives how good an ONNX model is at the task, larger is better: what ``--max-drop`` keeps.

    What makes the metric doubtful is noted once, for the first model.
    """
    said: list[str] = []

    def merit(path: Path) -> float:
        opened = onnx_model(path, samples, provider=target.provider, name=Path(path).name)
        (found,) = evaluate_together([opened], task, [None])
        measured = _measured(Path(path).name, found, samples, task)
        if not said:
            said.extend((f"{task.metric.name} of {Path(path).name}: {measured.value:.4f}", *_doubts(found, samples, task)))
            for text in said:
                progress.note(text)
        return task.metric.merit(measured.value)

    return Merit(task.metric, merit)


def _doubts(found: Evaluated, samples: Samples, task: Task) -> list[str]:
    return [f"warning: {warning}" for warning in task.warnings(found.answers, samples)]


def likeness(path: Path, samples: Samples, target: Target, base: Path) -> float:
    """Return how like the ONNX model `base` that at `path` is on samples without labels, at most 1.

    Where both give classes, the share of equal ones; else 1 less the error's share of the power of the outputs, of the output
    that is furthest off (0.99 is an SQNR of 20 dB).

    Raises:
        DataError: the outputs have other shapes, such as another number of boxes, or there is nothing to compare.
    """
    opened = [onnx_model(item, samples, provider=target.provider, name=item.name) for item in (base, path)]
    task = OutputsOnly()
    before, after = evaluate_together(opened, task, [None, 0])
    agreement = task.agreement(after.answers, before.answers)
    if agreement is not None:
        return agreement
    if after.unlike or not after.errors:
        which = next(iter(after.unlike), "")
        why = f"output '{which}' has another shape once it is quantized" if which else "no output is a tensor of numbers"
        raise DataError(f"{base}: what it loses cannot be told without labels: {why}; give labelled samples")
    return 1.0 - max(error.relative**2 for error in after.errors.values())


def _measured(name: str, model: Evaluated, samples: Samples, task: Task) -> Measured:
    """Return the metric of one model; an error about its answers names it."""
    try:
        return task.measure(model.answers, samples)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
