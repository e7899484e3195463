"""What the stages that train or run PyTorch models share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt.errors import RecipeError

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.stages.job import Job
    from edgeopt.tasks.task import Task
    from edgeopt.train.loop import Session


_ENOUGH = 200  # samples to choose the best weights with; fewer would choose by chance


def judge(job: Job, task: Task) -> Samples | None:
    """Return the labelled samples that the best weights of a training are chosen with; None: there are none.

    Those are the calibration samples, all of them, where the data set keeps them apart from the training and the evaluation
    split: what a model is judged with in the end must not choose it.
    """
    if not job.data.has_own("calibration") or not job.data.has_own("evaluation"):
        return None
    samples = job.data.whole("calibration")
    return samples if task.is_labelled(samples) and len(samples) >= _ENOUGH else None


def refuse_two_graphs(task: str | None, source: str) -> None:
    """Refuse a model that writes one text from another: it becomes two graphs, and a recipe makes one.

    Raises:
        RecipeError: naming the commands that take it.
    """
    if task in {"text2text-generation", "speech2seq"}:
        raise RecipeError(
            f"{source}: an encoder-decoder becomes two graphs, which a recipe does not make; run its steps one by one: "
            "edgeopt train, distill, export, quantize, bundle"
        )


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
