"""The stage `bundle`: pack what is shipped."""

from __future__ import annotations

from edgeopt.bundle.result import BundleResult
from edgeopt.stages.job import Job


def run_bundle(job: Job) -> BundleResult:
    """Write the bundle."""
    from edgeopt.bundle import BundleSpec, write_bundle
    from edgeopt.data.fit import fit_to
    from edgeopt.data.select import limited

    manifest = job.data.manifest
    folder = job.inputs["quantize"]
    samples = fit_to(limited(job.data.split("evaluation"), job.recipe.bundle.golden_samples), folder / "model.onnx")
    tokenizer = job.data.tokenizer
    files = {"tokenizer.json": tokenizer / "tokenizer.json"} if tokenizer and manifest.reader == "text" else {}
    return write_bundle(
        BundleSpec(
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
