"""The stage `distill`: make a student and teach it."""

from __future__ import annotations

from dataclasses import asdict

from edgeopt.errors import RecipeError
from edgeopt.stages.job import Facts, Job
from edgeopt.stages.torch_model import load, session


def run_distill(job: Job) -> Facts:
    """Make the student and teach it."""
    from edgeopt.distill.stage import distill

    options = job.recipe.distill
    if options is None:
        raise RecipeError("the recipe has no [distill]")
    result = distill(
        load(job, "teacher"),
        job.data.split("train"),
        output=job.workspace.output,
        options=options,
        session=session(job),
    )
    return {**asdict(result.student), "steps": result.steps, "history": result.history}
