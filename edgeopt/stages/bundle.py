"""The stage `bundle`: pack what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.bundle.result import BundleResult
from edgeopt.bundle.spec import Origin
from edgeopt.data.preprocessing import TokenizerInput
from edgeopt.stages.job import Job
from edgeopt.store import digest_of

if TYPE_CHECKING:
    from edgeopt.bundle.raw_golden import RawSample
    from edgeopt.data.samples import Samples
    from edgeopt.tasks.decoding import Decoding

_MODELS = ("teacher", "distill", "prune", "export", "import", "quantize")
"""Stages whose models are links of the chain, in their order."""
_THRESHOLDS = ("score_threshold", "iou_threshold")


def run_bundle(job: Job) -> BundleResult:
    """Write the bundle."""
    from edgeopt.bundle import BundleSpec, write_bundle
    from edgeopt.bundle.licence import stated_beside
    from edgeopt.data.fit import fit_to
    from edgeopt.data.select import limited

    manifest = job.data.manifest
    folder = job.inputs["quantize"]
    samples = fit_to(limited(job.data.split("evaluation"), job.recipe.bundle.golden_samples), folder / "model.onnx")
    tokenizer = job.data.own_tokenizer
    files = {"tokenizer.json": tokenizer / "tokenizer.json"} if tokenizer and manifest.reader == "text" else {}
    licences = stated_beside(_start(job), _data(job))
    return write_bundle(
        BundleSpec(
            origins=_origins(job),
            licences=licences.names(data=manifest.licence),
            format=job.recipe.bundle.format,
            latency=job.recipe.bundle.latency,
            model=folder / "model.onnx",
            name=job.recipe.name,
            task=_task_name(job),
            target=job.target.name,
            golden=list(samples.batches(1)),
            preprocessing=manifest.preprocessing,
            raw=_raw(job),
            labels=tuple(manifest.labels),
            decoding=decoding_of(job, samples, folder / "model.onnx"),
            recipe_toml=job.recipe.to_toml(),
            files={**files, **licences.files},
        ),
        output=job.workspace.output / "bundle",
    )


def _raw(job: Job) -> tuple[RawSample, ...] | None:
    """Return the files and sentences that the samples are made of; None: they are not known, or the model takes others."""
    from edgeopt.bundle.raw import takes_raw
    from edgeopt.bundle.raw_source import raw_of_source

    steps = job.data.manifest.preprocessing
    raw = raw_of_source(_data(job), job.recipe.bundle.golden_samples) if takes_raw(steps) else None
    pair = isinstance(steps, TokenizerInput) and steps.pair
    return raw if raw and all(isinstance(sample.text, tuple) is pair for sample in raw) else None


def _data(job: Job) -> str:
    """Return the source of the data that the golden inputs are of."""
    options = job.recipe.data
    return next(source for source in (options.evaluation, options.set, options.calibration, options.train) if source)


def _start(job: Job) -> str:
    """Return what everything starts from: the teacher's source, or the file that entered."""
    return job.recipe.teacher.source if job.recipe.teacher else str(job.recipe.model)


def _origins(job: Job) -> tuple[Origin, ...]:
    """Return the chain from the model that everything starts from, and the data, to the quantized file."""
    from edgeopt.data.sets import content_hash

    teacher = job.recipe.teacher
    start = Path(teacher.source) if teacher else None
    data = [Origin("data", job.data.manifest.name, job.data.split("evaluation").digest)]
    source = [Origin("source", start.name, content_hash(start))] if start is not None and start.exists() else []
    models = [Origin(name, _named(job, name), digest_of(job.inputs[name])) for name in _MODELS if name in job.inputs]
    return (*source, *data, *models)


def _named(job: Job, stage: str) -> str:
    """Return what the model of a stage is called: the first by its source, the others by their stage."""
    teacher = job.recipe.teacher
    return Path(teacher.source).name if stage == "teacher" and teacher else stage


def _task_name(job: Job) -> str:
    recipe = job.recipe
    teacher = recipe.teacher.task if recipe.teacher else None
    return recipe.task or teacher or recipe.export.task or job.data.manifest.task


def decoding_of(job: Job, samples: Samples, model: Path) -> Decoding | None:
    """Return how the run's task makes answers of the model's outputs; None: it does not say, the outputs' form must.

    What the task leaves open (which output, whether the values are scores already) is read from the outputs. A detector whose
    boxes were recognised for average precision, where all boxes count, has the usual thresholds on a device.
    """
    from edgeopt.bundle.guess import guess_decoding
    from edgeopt.errors import DataError
    from edgeopt.evaluate.outputs import onnx_model
    from edgeopt.stages.task import task_of
    from edgeopt.tasks.decoding import Boxes

    manifest, task = job.data.manifest, task_of(job, samples)
    runnable = onnx_model(model, samples, provider=job.target.provider, name=model.name)
    outputs = runnable.run(runnable.samples.collate([0]))
    try:
        fitted = task.fitted({name: values[0] for name, values in outputs.items() if values.ndim}, samples)
    except DataError:
        return None
    own = fitted.decoding(tuple(manifest.labels))
    said = own.model_dump(exclude_unset=True)
    if isinstance(own, Boxes) and task.decoding() != own:
        said = {key: value for key, value in said.items() if key not in _THRESHOLDS or value is None}
    named = [said.get(key) for key in ("output", "boxes", "scores", "start", "end")]
    if own.kind == "arrays" or any(name is not None and name not in outputs for name in named):
        return None
    labels = tuple(manifest.labels)
    guess = guess_decoding(task.name, list(outputs.items()), preprocessing=manifest.preprocessing, labels=labels)
    kept = guess.model_dump(exclude_unset=True) if guess.kind == own.kind and not isinstance(own, Boxes) else {}
    return type(own)(**{**kept, **said})
