"""The stage `verify`: the evaluation samples through every model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from edgeopt.distill.result import DistillFacts
from edgeopt.errors import InternalError
from edgeopt.evaluate.result import VerifyFacts
from edgeopt.export.result import ExportFacts
from edgeopt.files import write_json
from edgeopt.prune.result import PruneFacts
from edgeopt.quantize.result import QuantizeFacts
from edgeopt.roles import role_of
from edgeopt.stages.job import Job
from edgeopt.stages.onnx_import import ImportFacts
from edgeopt.stages.teacher import TeacherFacts

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.evaluate.compare import Variant
    from edgeopt.models.model_size import ModelSize

_TORCH_STAGES = ("teacher", "distill", "prune")


def run_verify(job: Job) -> VerifyFacts:
    """Run every model on the evaluation samples and compare."""
    from edgeopt.evaluate.compare import compare_accuracy, diverge, verdict, whole_verdict

    samples = job.data.split("evaluation")
    trained = [_torch_variant(job, name, samples) for name in _TORCH_STAGES if name in job.inputs]
    last = _size(job, trained[-1].stage) if trained else None
    fp32 = "export" if "export" in job.inputs else "import"
    baseline = _onnx_variant(job, "fp32", fp32, samples, last)
    quantized = _onnx_variant(job, "int8", "quantize", samples, last)
    rows = compare_accuracy([*trained, baseline, quantized], samples, job.recipe.verify)
    exported = [diverge(trained[-1], baseline)] if trained else []
    rounded = diverge(baseline, quantized, job.facts_of("quantize", QuantizeFacts).layers)
    kept = verdict(rows, rounded, job.recipe.verify)
    asked = "max_drop_points" in job.recipe.model_fields_set
    whole = whole_verdict(rows, allowed_points=job.recipe.max_drop_points, asked=asked)
    facts = VerifyFacts(
        metric="accuracy" if samples.labels is not None else "relative error",
        samples=len(samples),
        confidence=job.recipe.verify.confidence,
        variants=tuple(rows),
        divergence=(*exported, rounded),
        verdict=kept.state,
        reason=kept.reason,
        whole_verdict=whole.state if whole else None,
        whole_reason=whole.reason if whole else None,
    )
    write_json(job.workspace.output / "verify.json", TypeAdapter(VerifyFacts).dump_python(facts, mode="json"))
    return facts


def _torch_variant(job: Job, name: str, samples: Samples) -> Variant:
    from edgeopt.evaluate.compare import Variant
    from edgeopt.evaluate.outputs import torch_outputs
    from edgeopt.models.call import predict
    from edgeopt.stages.torch_model import load

    module, size = load(job, name).module, _size(job, name)
    outputs = torch_outputs(lambda batch: predict(module, batch), samples, name=name)
    return Variant(name, role_of(name), name, outputs, size.size_bytes, size.parameters, size.macs)


def _size(job: Job, stage: str) -> ModelSize:
    facts = job.facts[stage]
    match facts:
        case TeacherFacts():
            return facts
        case DistillFacts():
            return facts.student
        case PruneFacts():
            return facts.after
        case _:
            raise InternalError(f"stage '{stage}' trains no model")


def _onnx_variant(job: Job, name: str, stage: str, samples: Samples, trained: ModelSize | None) -> Variant:
    """Return an ONNX model on the samples; parameters and MACs are those of the model it was exported from."""
    from edgeopt.evaluate.compare import Variant
    from edgeopt.evaluate.outputs import onnx_outputs

    facts = job.facts[stage]
    if isinstance(facts, ExportFacts | ImportFacts):
        size_bytes = facts.size_bytes
    else:
        size_bytes = job.facts_of(stage, QuantizeFacts).size_bytes_after
    path: Path = job.inputs[stage] / "model.onnx"
    outputs = onnx_outputs(path, samples, provider=job.target.provider, name=name)
    counts = (trained.parameters, trained.macs) if trained else (None, None)
    return Variant(name, role_of(name), stage, outputs, size_bytes, *counts)
