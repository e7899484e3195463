"""The stage `teacher`: load the model everything starts from, and train it if the recipe says so."""

from __future__ import annotations

from dataclasses import dataclass

from edgeopt.errors import RecipeError
from edgeopt.models.model_size import ModelSize
from edgeopt.stages.job import Job
from edgeopt.stages.task import task_of
from edgeopt.stages.torch_model import judge, refuse_two_graphs, session
from edgeopt.train.epoch import Epoch, Evaluation


@dataclass(frozen=True)
class TeacherFacts(ModelSize):
    """The size of the model everything starts from; `history` has one entry per epoch, none if it was not trained."""

    history: tuple[Epoch, ...]
    evaluations: tuple[Evaluation, ...] = ()
    """The metric on the samples that the best weights were chosen with, where there are any."""


def run_teacher(job: Job) -> TeacherFacts:
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
    refuse_two_graphs(loaded.purpose, options.source)
    history: tuple[Epoch, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    if options.train is not None:
        from edgeopt.train.fine_tune import fine_tune
        from edgeopt.train.virtual_tokens import add_virtual_tokens

        if options.train.adapter is not None and options.train.adapter.kind == "p-tuning":
            loaded = add_virtual_tokens(loaded, options.train.adapter.virtual_tokens, job.workspace.output)
        samples = job.data.split("train")
        task = task_of(job, samples)
        judges = judge(job, task)
        result = fine_tune(loaded, samples, task, options=options.train, session=session(job), evaluation=judges)
        history, evaluations = result.history, result.evaluations
    output = job.workspace.output
    save_model(loaded.module, output, origin=loaded.origin)
    copy_tokenizer(loaded.folder, output)
    size = measure(loaded.module, job.data.example())
    return TeacherFacts(size.parameters, size.size_bytes, size.macs, history, evaluations)
