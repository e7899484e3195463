"""The metric that `--max-drop` keeps, on samples of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.metric import Merit
    from edgeopt.targets.target import Target


def metric(samples: Samples, target: Target, model: Path, task_name: str | None = None) -> Merit:
    """Return a function that gives how good an ONNX model is at its task on `samples`, on the target's provider.

    Without labels, it gives how like the floating-point `model` it is.

    Raises:
        DataError: the samples have no labels for the task that was named.
        RecipeError: there is no task called `task_name`.
    """
    from edgeopt import progress
    from edgeopt.errors import DataError
    from edgeopt.metric import Merit, Metric
    from edgeopt.stages.drops import likeness, merits
    from edgeopt.tasks.registry import find_task, task_for

    task = find_task(task_name) if task_name else task_for(samples)
    if task.is_labelled(samples):
        return merits(samples, target, task)
    if task_name:
        raise DataError(f"--max-drop needs labelled samples, and {task.name} needs {task.wanted}")
    progress.note("the samples have no labels: --max-drop is judged by the agreement with the floating-point model's outputs")
    return Merit(Metric("agreement"), lambda path: likeness(path, samples, target, model))
