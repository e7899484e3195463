"""The task of a recipe: what it says, what the model's folder says, or what the data set is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.stages.job import Job
    from edgeopt.tasks.task import Task


def task_of(job: Job, samples: Samples) -> Task:
    """Return what the models of the run are for; `samples` are of the split that is about to be used."""
    from edgeopt.tasks.registry import task_for

    recipe = job.recipe
    teacher = recipe.teacher.task if recipe.teacher else None
    return task_for(samples, recipe.task, teacher, recipe.export.task, job.data.manifest.task)
