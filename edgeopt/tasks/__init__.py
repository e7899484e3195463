"""Tasks: what models are for. One class per task; see `edgeopt.tasks.task`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.tasks.metric import Measured, Metric
    from edgeopt.tasks.registry import find_task, task_names
    from edgeopt.tasks.task import LossSum, SoftForm, SoftLabels, Task

__all__ = ["LossSum", "Measured", "Metric", "SoftForm", "SoftLabels", "Task", "find_task", "task_names"]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "LossSum": "task",
            "Measured": "metric",
            "Metric": "metric",
            "SoftForm": "task",
            "SoftLabels": "task",
            "Task": "task",
            "find_task": "registry",
            "task_names": "registry",
        },
    )
