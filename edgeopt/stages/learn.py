"""The PyTorch stages: teacher, distill, prune."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgeopt.errors import RecipeError
from edgeopt.stages.job import Facts, Job, load


def run_teacher(job: Job) -> Facts:
    """Load the teacher, and train it if the recipe asks for it."""
    import torch

    from edgeopt.models.load import load_model
    from edgeopt.models.save import copy_tokenizer, save_model
    from edgeopt.models.size import measure

    options = job.recipe.teacher
    if options is None:
        raise RecipeError("the recipe has no [teacher]")
    torch.manual_seed(job.recipe.seed)
    loaded = load_model(
        options.source, task=options.task, arguments=options.arguments, trust_remote_code=options.trust_remote_code
    )
    history: list[Any] = []
    if options.train is not None:
        from edgeopt.train.supervised import train_supervised

        samples = job.data.split("train")
        history = train_supervised(loaded.module, samples, options=options.train, session=job.session).history
    output = job.workspace.output
    save_model(loaded.module, output, origin=loaded.origin)
    copy_tokenizer(loaded.folder, output)
    size = measure(loaded.module, job.data.example())
    return {**asdict(size), "history": history}


def run_distill(job: Job) -> Facts:
    """Build the student and train it on the teacher."""
    from edgeopt.distill.stage import distill

    options = job.recipe.distill
    if options is None:
        raise RecipeError("the recipe has no [distill]")
    result = distill(
        load(job, "teacher"),
        job.data.split("train"),
        output=job.workspace.output,
        options=options,
        session=job.session,
    )
    return {**asdict(result.student), "steps": result.steps, "history": result.history}


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
        session=job.session,
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
