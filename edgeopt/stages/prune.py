"""The stage `prune`: remove channels, then recover."""

from __future__ import annotations

from dataclasses import asdict

from edgeopt.errors import RecipeError
from edgeopt.stages.job import Facts, Job
from edgeopt.stages.torch_model import load, session


def run_prune(job: Job) -> Facts:
    """Remove channels, then recover against the teacher."""
    from edgeopt.prune.stage import prune

    options = job.recipe.prune
    if options is None:
        raise RecipeError("the recipe has no [prune]")
    result = prune(
        load(job, "distill" if job.recipe.distill else "teacher"),
        load(job, "teacher"),
        job.data.split("train"),
        output=job.workspace.output,
        options=options,
        session=session(job),
    )
    before, after = result.before, result.after
    return {
        **asdict(after),
        "macs_before": before.macs,
        "macs_after": after.macs,
        "parameters_before": before.parameters,
        "parameters_after": after.parameters,
        "layers": [asdict(layer) for layer in result.layers],
        "history": result.history,
    }
