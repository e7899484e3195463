"""The ONNX stages: export or import, quantize, verify, profile, bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from edgeopt.errors import RecipeError
from edgeopt.files import write_json
from edgeopt.stages.job import Facts, Job, load


def run_export(job: Job) -> Facts:
    """Export the model to ONNX and compare it with PyTorch."""
    from edgeopt.export import export

    (name, folder), *_ = job.inputs.items()
    loaded = load(job, name)
    samples = job.data.split("calibration").first(16)
    config = job.recipe.export.model_copy(
        update={"task": job.recipe.export.task or loaded.task, "source": job.recipe.name}
        | ({"source_folder": folder} if (folder / "config.json").is_file() else {})
    )
    result = export(loaded.module, samples.batches(1), target=job.target, output=job.workspace.output, config=config)
    return result.facts()


def run_import(job: Job) -> Facts:
    """Take an ONNX file that was exported elsewhere."""
    from edgeopt.graph import onnx_file

    path = Path(str(job.recipe.model))
    model = onnx_file.load(path)
    onnx_file.save(model, job.workspace.output / "model.onnx")
    signature = onnx_file.signature(model)
    return {
        "opset": next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        "nodes": len(model.graph.node),
        "inputs": [asdict(spec) for spec in signature.inputs],
        "outputs": [asdict(spec) for spec in signature.outputs],
        "size_bytes": onnx_file.size_bytes(path),
    }


def run_quantize(job: Job) -> Facts:
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
        config=job.recipe.quantize,
        evaluate=_metric(job) if job.recipe.quantize.max_drop is not None else None,
    )
    return asdict(replace(result.facts, warnings=(*warnings_of(found), *result.facts.warnings)))


def _metric(job: Job) -> Callable[[Path], float]:
    """Return the accuracy on the whole calibration split, so that no choice is ever made on the evaluation split."""
    from edgeopt.evaluate.outputs import onnx_outputs

    samples = job.data.whole("calibration")
    labels = samples.labels
    if labels is None:
        raise RecipeError("quantize.max_drop needs labels in the calibration split, which has none; leave it out")

    def accuracy(path: Path) -> float:
        outputs = onnx_outputs(path, samples, provider=job.target.provider, name="with exceptions")
        return float((next(iter(outputs.values())).argmax(axis=1) == labels).mean())

    return accuracy


def run_verify(job: Job) -> Facts:
    """Run every model on the evaluation samples and compare."""
    from edgeopt.evaluate.compare import Variant, compare_accuracy, diverge, verdict
    from edgeopt.evaluate.outputs import onnx_outputs, torch_outputs
    from edgeopt.models.call import predict

    samples = job.data.split("evaluation")
    variants = []
    for name in _torch_names(job):
        module = load(job, name).module
        facts = job.facts[name]
        outputs = torch_outputs(lambda batch, module=module: predict(module, batch), samples, name=name)  # type: ignore[misc]
        variants.append(Variant(name, name, outputs, facts["size_bytes"], facts["parameters"], facts["macs"]))
    fp32 = "export" if "export" in job.inputs else "import"
    for name, stage in (("fp32", fp32), ("int8", "quantize")):
        path = job.inputs[stage] / "model.onnx"
        outputs = onnx_outputs(path, samples, provider=job.target.provider, name=name)
        last = variants[-1] if variants else None
        size = job.facts[stage]["size_bytes" if stage == fp32 else "size_bytes_after"]
        variants.append(Variant(name, stage, outputs, size, last.parameters if last else None, last.macs if last else None))
    rows = compare_accuracy(variants, samples, job.recipe.verify)
    layers = job.facts["quantize"]["layers"]
    divergence = [diverge(variants[-3], variants[-2])] if len(variants) > 2 else []
    divergence.append(diverge(variants[-2], variants[-1], layers))
    passed, reason = verdict(rows, divergence[-1], job.recipe.verify)
    facts = {
        "metric": "accuracy" if samples.labels is not None else "relative error",
        "samples": len(samples),
        "confidence": job.recipe.verify.confidence,
        "variants": [asdict(row) for row in rows],
        "divergence": [{"from": item.source, "to": item.result, **asdict(item)} for item in divergence],
        "verdict": passed,
        "reason": reason,
    }
    write_json(job.workspace.output / "verify.json", facts)
    return facts


def run_profile(job: Job) -> Facts:
    """Measure the ONNX models interleaved on the target."""
    from edgeopt.data.fit import fit_to
    from edgeopt.profile import profile
    from edgeopt.stages.drops import accuracy_drops, wanted

    options = job.recipe.profile
    if not options:
        raise RecipeError("the recipe has profile = false")
    models = {_display(stage): folder / "model.onnx" for stage, folder in job.inputs.items()}
    references = [*options.references, *(name for name in models if name not in ("fp32", "int8"))]
    samples = fit_to(job.data.split("evaluation").first(options.max_batches), models["fp32"])
    drops = accuracy_drops(models, job.data.split("evaluation"), job.target) if wanted(options.budget) else {}
    config = options.model_copy(update={"references": references})
    facts = profile(models, list(samples.batches(1)), target=job.target, config=config, drops=drops).facts()
    write_json(job.workspace.output / "profile.json", facts)
    return facts


def run_bundle(job: Job) -> Facts:
    """Write the bundle."""
    from edgeopt.bundle import BundleSpec, write_bundle
    from edgeopt.data.fit import fit_to

    manifest = job.data.manifest
    folder = job.inputs["quantize"]
    samples = fit_to(job.data.split("evaluation").first(job.recipe.bundle.golden_samples), folder / "model.onnx")
    tokenizer = job.data.tokenizer
    files = {"tokenizer.json": tokenizer / "tokenizer.json"} if tokenizer and manifest.reader == "text" else {}
    result = write_bundle(
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
    return asdict(result)


def _display(stage: str) -> str:
    """Return the name of a stage's ONNX model in the report."""
    return {"export": "fp32", "import": "fp32", "quantize": "int8"}.get(stage, stage.removeprefix("export-"))


def _torch_names(job: Job) -> list[str]:
    return [name for name in ("teacher", "distill", "prune") if name in job.inputs]
