"""The stage `prune`: remove channels, then recover."""

from __future__ import annotations

from edgeopt.errors import RecipeError
from edgeopt.prune.result import PruneFacts
from edgeopt.stages.job import Job
from edgeopt.stages.torch_model import load, session


def run_prune(job: Job) -> PruneFacts:
    """Remove channels, then recover against the teacher."""
    from edgeopt.prune.stage import PruneSession, prune
    from edgeopt.stages.pruned_files import Timing, latency_costs, latency_of

    options = job.recipe.prune
    if options is None:
        raise RecipeError("the recipe has no [prune]")
    model, samples = load(job, "distill" if job.recipe.distill else "teacher"), job.data.split("train")
    timing = Timing(job.target, options.precision, options.sequence, samples)
    costs = latency_costs(timing, task=model.task, seed=job.recipe.seed)
    known = PruneSession(
        **vars(session(job)), costs_of=costs, latency_of=latency_of(timing, task=model.task), step=job.target.pruning.step
    )
    return prune(model, load(job, "teacher"), samples, output=job.workspace.output, options=options, session=known)
