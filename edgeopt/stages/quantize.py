"""The stage `quantize`: check the calibration samples, calibrate, quantize."""

from __future__ import annotations

from dataclasses import replace

from edgeopt.errors import RecipeError
from edgeopt.metric import Merit
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.result import QuantizeFacts
from edgeopt.stages.job import Job


def run_quantize(job: Job) -> QuantizeFacts:
    """Check the calibration samples, calibrate and quantize the ONNX model."""
    from edgeopt.data.checks import check_samples, raise_errors, warnings_of
    from edgeopt.data.fit import fit_to
    from edgeopt.quantize import quantize

    (folder,) = job.inputs.values()
    samples = job.data.split("calibration")
    found = check_samples(samples, ranges=samples.ranges, evaluated=job.data.evaluated)
    raise_errors(found)
    result = quantize(
        folder / "model.onnx",
        fit_to(samples, folder / "model.onnx").batches(1),
        target=job.target,
        output=job.workspace.output / "model.onnx",
        config=_config(job),
        evaluate=_metric(job) if job.recipe.quantize.max_drop is not None else None,
    )
    return replace(result.facts, warnings=(*warnings_of(found), *result.facts.warnings))


def _config(job: Job) -> QuantizeConfig:
    """Return the recipe's options; a training keeps its state in the run's folder."""
    config = job.recipe.quantize
    if config.train is None or config.train.checkpoint is not None:
        return config
    train = config.train.model_copy(update={"checkpoint": job.workspace.checkpoint / "training.safetensors"})
    return config.model_copy(update={"train": train})


def _metric(job: Job) -> Merit:
    """Return the task's metric on the whole calibration split, so that no choice is ever made on the evaluation split."""
    from edgeopt.stages.drops import merits
    from edgeopt.stages.task import task_of

    samples = job.data.whole("calibration")
    task = task_of(job, samples)
    if not task.is_labelled(samples):
        raise RecipeError("quantize.max_drop needs labels in the calibration split, which has none; leave it out")
    return merits(samples, job.target, task)
