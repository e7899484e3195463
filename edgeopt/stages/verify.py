"""The stage `verify`: the evaluation samples through every model."""

from __future__ import annotations

from dataclasses import asdict

from edgeopt.files import write_json
from edgeopt.stages.job import Facts, Job
from edgeopt.stages.torch_model import load


def run_verify(job: Job) -> Facts:
    """Put the evaluation samples through every model and compare."""
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


def _torch_names(job: Job) -> list[str]:
    return [name for name in ("teacher", "distill", "prune") if name in job.inputs]
