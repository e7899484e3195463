"""What the stages that train or run PyTorch models share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.models.load import LoadedModel
    from edgeopt.stages.job import Job
    from edgeopt.train.loop import Session


def session(job: Job) -> Session:
    """Return the recipe's seed and the checkpoint of this stage."""
    from edgeopt.train.loop import Session

    return Session(job.recipe.seed, job.workspace.checkpoint)


def load(job: Job, name: str) -> LoadedModel:
    """Load the model that the stage `name` made; the recipe's own builder is trusted."""
    from edgeopt.models.load import load_model

    recipe = job.recipe
    builders = [recipe.distill.source if recipe.distill else None, recipe.teacher.source if recipe.teacher else None]
    if name == "teacher":
        builders.reverse()
    return load_model(job.inputs[name], source_builder=next((builder for builder in builders if builder), None))
