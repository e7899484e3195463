"""The stage `bundle`: pack what is shipped."""

from __future__ import annotations

from pathlib import Path

from edgeopt.bundle.result import BundleResult
from edgeopt.bundle.spec import Origin
from edgeopt.stages.job import Job

_MODELS = ("teacher", "distill", "prune", "export", "import", "quantize")
"""Stages whose models are links of the chain, in their order."""


def run_bundle(job: Job) -> BundleResult:
    """Write the bundle."""
    from edgeopt.bundle import BundleSpec, write_bundle
    from edgeopt.data.fit import fit_to
    from edgeopt.data.select import limited

    manifest = job.data.manifest
    folder = job.inputs["quantize"]
    samples = fit_to(limited(job.data.split("evaluation"), job.recipe.bundle.golden_samples), folder / "model.onnx")
    tokenizer = job.data.own_tokenizer
    files = {"tokenizer.json": tokenizer / "tokenizer.json"} if tokenizer and manifest.reader == "text" else {}
    return write_bundle(
        BundleSpec(
            origins=_origins(job),
            licences={"data": manifest.licence},
            format=job.recipe.bundle.format,
            latency=job.recipe.bundle.latency,
            model=folder / "model.onnx",
            name=job.recipe.name,
            task=(job.recipe.teacher.task if job.recipe.teacher else None) or job.recipe.export.task or manifest.task,
            target=job.target.name,
            golden=list(samples.batches(1)),
            preprocessing=manifest.preprocessing,
            labels=tuple(manifest.labels),
            recipe_toml=job.recipe.to_toml(),
            files=files,
        ),
        output=job.workspace.output / "bundle",
    )


def _origins(job: Job) -> tuple[Origin, ...]:
    """Return the chain from the model that everything starts from, and the data, to the quantized file."""
    from edgeopt.data.sets import content_hash

    teacher = job.recipe.teacher
    start = Path(teacher.source) if teacher else None
    data = [Origin("data", job.data.manifest.name, job.data.split("evaluation").digest)]
    source = [Origin("source", start.name, content_hash(start))] if start is not None and start.exists() else []
    models = [Origin(name, _named(job, name), content_hash(job.inputs[name])) for name in _MODELS if name in job.inputs]
    return (*source, *data, *models)


def _named(job: Job, stage: str) -> str:
    """Return what the model of a stage is called: the first by its source, the others by their stage."""
    teacher = job.recipe.teacher
    return Path(teacher.source).name if stage == "teacher" and teacher else stage
