"""The stage `verify`: the evaluation samples through every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from edgeopt import progress
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
from edgeopt.stages.task import task_of
from edgeopt.stages.teacher import TeacherFacts

if TYPE_CHECKING:
    from edgeopt.data.outputs import Runnable
    from edgeopt.data.samples import Samples
    from edgeopt.evaluate.compare import Variant
    from edgeopt.evaluate.lockstep import Evaluated
    from edgeopt.models.model_size import ModelSize
    from edgeopt.stages.results import StageFacts
    from edgeopt.tasks.task import Task

_TORCH_STAGES = ("teacher", "distill", "prune")


def run_verify(job: Job) -> VerifyFacts:
    """Run every model on the evaluation samples and compare."""
    from edgeopt.evaluate.compare import compared, diverge, verdict, whole_verdict
    from edgeopt.evaluate.lockstep import evaluate_together, usable

    samples = job.data.split("evaluation")
    task = task_of(job, samples)
    trained = [_torch_model(job, name, samples, task) for name in _TORCH_STAGES if name in job.inputs]
    fp32 = "export" if "export" in job.inputs else "import"
    stages = [*(model.name for model in trained), fp32, "quantize"]
    last_name = job.recipe.quantized_name
    models = [*trained, _onnx_model(job, "fp32", fp32, samples), _onnx_model(job, last_name, "quantize", samples)]
    task = usable(task, models)
    references = [None, *range(len(models) - 1)]  # each is compared with the one that it was made from
    found = evaluate_together(models, task, references)
    warnings = tuple(line for model in found for line in model.left_out)
    for line in warnings:
        progress.note(f"warning: {line}")
    last = _size(job, trained[-1].name) if trained else None
    variants = [_variant(job, model, stage, last) for model, stage in zip(found, stages, strict=True)]
    rows, quantized = compared(variants, samples, task, job.recipe.verify)
    exported = [diverge(trained[-1].name, "fp32", found[-2].errors)] if trained else []
    rounded = diverge("fp32", last_name, found[-1].errors, job.facts_of("quantize", QuantizeFacts).layers)
    kept = verdict(rows, rounded, job.recipe.verify, task.metric)
    asked = "max_drop_points" in job.recipe.model_fields_set
    whole = whole_verdict(rows, allowed_points=job.recipe.max_drop_points, asked=asked, metric=task.metric)
    facts = VerifyFacts(
        metric=task.metric.name if task.is_labelled(samples) else "relative error",
        samples=len(samples),
        confidence=job.recipe.verify.confidence,
        variants=tuple(rows),
        divergence=(*exported, rounded),
        verdict=kept.state,
        reason=kept.reason,
        whole_verdict=whole.state if whole else None,
        whole_reason=whole.reason if whole else None,
        quantized=quantized,
        task=task.name,
        scale=task.metric.scale,
        larger_is_better=task.metric.larger_is_better,
        warnings=warnings,
    )
    write_json(job.workspace.output / "verify.json", TypeAdapter(VerifyFacts).dump_python(facts, mode="json"))
    return facts


def _torch_model(job: Job, name: str, samples: Samples, task: Task) -> Runnable:
    from edgeopt.evaluate.outputs import torch_model
    from edgeopt.stages.torch_model import load

    return torch_model(load(job, name).module, task, samples, name=name)


def _onnx_model(job: Job, name: str, stage: str, samples: Samples) -> Runnable:
    from edgeopt.evaluate.outputs import onnx_model

    return onnx_model(job.inputs[stage] / "model.onnx", samples, provider=job.target.provider, name=name)


def _variant(job: Job, found: Evaluated, stage: str, trained: ModelSize | None) -> Variant:
    """Return a model's answers and size; parameters and MACs of an ONNX model are those of the model it was exported from."""
    from edgeopt.evaluate.compare import Variant

    size = _size(job, stage) if stage in _TORCH_STAGES else trained
    size_bytes = size.size_bytes if size and stage in _TORCH_STAGES else _onnx_bytes(job, stage, job.facts[stage])
    parameters, macs = (size.parameters, size.macs) if size else (None, None)
    distances = {name: mean for name in found.distances if (mean := found.distance(name)) is not None}
    return Variant(found.name, role_of(found.name), stage, found.answers, size_bytes, parameters, macs, distances)


def _onnx_bytes(job: Job, stage: str, facts: StageFacts) -> int:
    if isinstance(facts, ExportFacts | ImportFacts):
        return facts.size_bytes
    return job.facts_of(stage, QuantizeFacts).size_bytes_after


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
