"""The metric that `--max-drop` keeps, on labelled samples of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.targets.target import Target


def metric(samples: Samples, target: Target, task_name: str | None = None) -> Callable[[Path], float]:
    """Return a function that gives how good an ONNX model is at its task on `samples`, on the target's provider.

    Raises:
        DataError: the samples have no labels.
        RecipeError: there is no task called `task_name`.
    """
    from edgeopt.errors import DataError
    from edgeopt.stages.drops import merit
    from edgeopt.tasks.registry import find_task, task_for

    task = find_task(task_name) if task_name else task_for(samples)
    if not task.is_labelled(samples):
        if task_name:
            raise DataError(f"--max-drop needs labelled samples, and {task.name} needs {task.wanted}")
        raise DataError(
            "--max-drop needs labelled samples: store an integer array called 'labels' in the .npz file of --evaluate, "
            "or name a set that has labels"
        )
    return lambda path: merit(path, samples, target, task)
