"""The stage `prune`: remove channels, then recover."""

from __future__ import annotations

from edgeopt.errors import RecipeError
from edgeopt.prune.result import PruneFacts
from edgeopt.stages.job import Job
from edgeopt.stages.torch_model import load, session


def run_prune(job: Job) -> PruneFacts:
    """Remove channels, then recover against the teacher."""
    from edgeopt.prune.stage import prune

    options = job.recipe.prune
    if options is None:
        raise RecipeError("the recipe has no [prune]")
    return prune(
        load(job, "distill" if job.recipe.distill else "teacher"),
        load(job, "teacher"),
        job.data.split("train"),
        output=job.workspace.output,
        options=options,
        session=session(job),
    )
