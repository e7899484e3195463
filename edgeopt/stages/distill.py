"""The stage `distill`: make a student and teach it."""

from __future__ import annotations

from edgeopt.distill.result import DistillFacts
from edgeopt.errors import RecipeError
from edgeopt.stages.job import Job
from edgeopt.stages.torch_model import load, session


def run_distill(job: Job) -> DistillFacts:
    """Build the student and train it on the teacher."""
    from edgeopt.distill.stage import distill

    options = job.recipe.distill
    if options is None:
        raise RecipeError("the recipe has no [distill]")
    return distill(
        load(job, "teacher"),
        job.data.split("train"),
        output=job.workspace.output,
        options=options,
        session=session(job),
    )
