"""The stage `distill`: make a student and teach it."""

from __future__ import annotations

from edgeopt.distill.result import DistillFacts
from edgeopt.errors import RecipeError
from edgeopt.stages.job import Job
from edgeopt.stages.torch_model import judge, load, session


def run_distill(job: Job) -> DistillFacts:
    """Build the student and train it on the teacher."""
    from edgeopt.data.joined import joined
    from edgeopt.distill.stage import Material, distill
    from edgeopt.stages.task import task_of

    options = job.recipe.distill
    if options is None:
        raise RecipeError("the recipe has no [distill]")
    samples = job.data.split("train")
    task = task_of(job, samples)
    unlabelled = [job.data.further(source) for source in options.unlabelled]
    return distill(
        load(job, "teacher"),
        samples,
        output=job.workspace.output,
        options=options,
        session=session(job),
        material=Material(judge(job, task), joined(unlabelled) if unlabelled else None, task),
    )
