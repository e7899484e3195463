"""The stage `bundle`: pack what is shipped."""

from __future__ import annotations

from pathlib import Path

from edgeopt.bundle.result import BundleResult
from edgeopt.stages.job import Job


def run_bundle(job: Job) -> BundleResult:
    """Write the bundle."""
    from edgeopt.bundle import BundleSpec, write_bundle
    from edgeopt.bundle.spec import Origin
    from edgeopt.data.fit import fit_to
    from edgeopt.data.select import limited
    from edgeopt.files import sha256

    manifest = job.data.manifest
    folder = job.inputs["quantize"]
    samples = fit_to(limited(job.data.split("evaluation"), job.recipe.bundle.golden_samples), folder / "model.onnx")
    tokenizer = job.data.own_tokenizer
    files = {"tokenizer.json": tokenizer / "tokenizer.json"} if tokenizer and manifest.reader == "text" else {}
    exported = job.inputs.get("export")
    origins = [
        *([Origin("teacher", Path(job.recipe.teacher.source).name, "")] if job.recipe.teacher else []),
        Origin("data", manifest.name, job.data.split("evaluation").digest),
        *(
            [Origin("export", "model.onnx", sha256(exported / "model.onnx"))]
            if exported and (exported / "model.onnx").is_file()
            else []
        ),
        Origin("quantize", "model.onnx", sha256(folder / "model.onnx")),
    ]
    return write_bundle(
        BundleSpec(
            origins=tuple(origins),
            licences={"data": manifest.licence},
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
