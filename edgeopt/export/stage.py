"""The stage `export`: a PyTorch module becomes an ONNX file that is proven to compute the same."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import torch

import edgeopt
from edgeopt import progress
from edgeopt.data.batches import Array, Batch, Batches
from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.export.attention import attention_for_export
from edgeopt.export.axes import Axes, find_axes
from edgeopt.export.config import ExportConfig
from edgeopt.export.naming import tidy_names
from edgeopt.export.parity import check_parity, first_divergence, fitted, parity_batches
from edgeopt.export.passes import optimize
from edgeopt.export.program import Program, evaluating, tensors
from edgeopt.export.result import ExportResult, Parity
from edgeopt.export.trace import to_onnx, trace
from edgeopt.files import disk_errors, write_aside
from edgeopt.models import onnx_file
from edgeopt.targets.target import Target

_FIRST_OPSET_WITH_ATTENTION = 23
_DEFAULTS = ExportConfig()
_TOLERANCES = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}
_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")
_WEIGHT_INDEXES = (".safetensors.index.json", ".bin.index.json")


@dataclass(frozen=True)
class _Plan:
    """What is decided before anything is traced."""

    opset: int
    attention: Literal["fused", "decomposed"]
    task: str
    axes: Axes
    tolerance: float
    example: Batch
    checks: list[Batch]
    warnings: tuple[str, ...]


def export(
    model: torch.nn.Module, samples: Batches, *, target: Target, output: Path, config: ExportConfig = _DEFAULTS
) -> ExportResult:
    """Export `model` to ``output/model.onnx`` and compare it with PyTorch on `samples`.

    Args:
        model: on the CPU; put into evaluation mode meanwhile and left as it was.
        samples: real batches, named as the arguments of the model's forward; the first shows how the model is called.
        target: says which opset and which form of attention its provider wants.
        output: the folder to write; made if need be.
        config: what to do otherwise than the target says.

    Raises:
        ModelError: the model cannot be traced, an axis is not dynamic, or the outputs differ by more than the tolerance.
        DataError: the samples are empty or disagree with each other.
        RecipeError: the configuration names inputs or outputs that are not there.
    """
    plan = _decide(model, samples, target, config)
    program = Program(model, list(plan.example))
    with evaluating(program):
        program.name_outputs(tensors(plan.example, program.inputs), config.outputs or _task_outputs(plan.task))
        graph, exported = _build(program, plan)
        named = graph.clone()
        removed = optimize(graph)
        tidy_names(graph)
        _describe(graph, plan, config)
        path = Path(output) / "model.onnx"
        files = onnx_file.save(ir.to_proto(graph), path)
        parity = check_parity(program, path, plan.checks, tolerance=plan.tolerance)
        if not parity.passed:
            path.unlink()
            raise ModelError(_parted(parity, first_divergence(named, exported, plan.checks[0], tolerance=plan.tolerance)))
    files += _copy_beside(config.source_folder, path.parent)
    return _result(graph, plan, parity, files, removed)


def _decide(model: torch.nn.Module, samples: Batches, target: Target, config: ExportConfig) -> _Plan:
    used = [dict(batch) for batch in itertools.islice(samples, config.parity_samples)]
    if not used or not used[0]:
        raise DataError("export needs at least one sample batch to call the model with; the samples are empty")
    used = [dict(batch) for batch in fitted(used, config.shapes)]
    axes = find_axes(used, fixed=config.shapes, given=config.axes)
    opset = config.opset or target.export.opset
    attention = config.attention or target.export.attention
    warnings: tuple[str, ...] = ()
    if attention == "fused" and opset < _FIRST_OPSET_WITH_ATTENTION:
        if config.attention == "fused":
            raise RecipeError(f"attention 'fused' needs opset {_FIRST_OPSET_WITH_ATTENTION} or later, not {opset}")
        attention = "decomposed"
        warnings = (f"attention is decomposed: opset {opset} has no Attention operator",)
    checks = parity_batches(used, axes, limit=config.parity_samples)
    return _Plan(
        opset=opset,
        attention=attention,
        task=config.task or _guess_task(model),
        axes=axes,
        tolerance=config.tolerance or _tolerance(model),
        example=_example(used, axes),
        checks=checks,
        warnings=warnings,
    )


def _tolerance(model: torch.nn.Module) -> float:
    """Return the relative error that rounding alone can explain in the coarsest type of the weights."""
    return max((_TOLERANCES.get(weight.dtype, 0.0) for weight in model.parameters()), default=0.0) or 1e-4


def _build(program: Program, plan: _Plan) -> tuple[ir.Model, torch.export.ExportedProgram]:
    with attention_for_export(program.module, plan.attention), progress.task("trace and convert", total=2) as advance:
        traced = trace(program, tensors(plan.example, program.inputs), plan.axes)
        advance()
        graph, exported = to_onnx(program, traced, plan.axes, opset=plan.opset)
        advance()
    return graph, exported


def _example(samples: Sequence[Batch], axes: Axes) -> Batch:
    """Return the longest sample, with every dynamic axis at least 2 long: torch takes sizes 0 and 1 for constants."""
    longest = max(samples, key=lambda batch: sum(array.size for array in batch.values()))
    return {name: _stretch(array, axes[name]) for name, array in longest.items()}


def _stretch(array: Array, dynamic: Mapping[int, str]) -> Array:
    for axis in dynamic:
        if array.shape[axis] == 1:
            array = np.repeat(array, 2, axis=axis)
    return array


def _guess_task(model: torch.nn.Module) -> str:
    """Return the task a transformers class is made for, by its name; "" for other modules."""
    heads = {
        "ForSequenceClassification": "text-classification",
        "ForTokenClassification": "token-classification",
        "ForQuestionAnswering": "question-answering",
        "ForMaskedLM": "fill-mask",
        "ForImageClassification": "image-classification",
    }
    return next((task for ending, task in heads.items() if type(model).__name__.endswith(ending)), "")


def _task_outputs(task: str) -> tuple[str, ...]:
    """Return the outputs a task needs; empty: all."""
    if task == "question-answering":
        return ("start_logits", "end_logits")
    return ("logits",) if task else ()


def _describe(graph: ir.Model, plan: _Plan, config: ExportConfig) -> None:
    """Write who made the file, from what and for what; no time and no path, so that equal inputs give equal bytes."""
    graph.producer_name = "edgeopt"
    graph.producer_version = edgeopt.__version__
    facts = {
        "source": config.source or "",
        "task": plan.task,
        "axes": json.dumps({name: axes for name, axes in plan.axes.items() if axes}, sort_keys=True),
        "attention": plan.attention,
        "torch": torch.__version__,
    }
    graph.metadata_props.update({f"edgeopt.{key}": value for key, value in facts.items() if value})


def _parted(parity: Parity, where: str) -> str:
    return (
        f"the ONNX model differs from PyTorch: relative error {parity.relative_error:.3g}, allowed {parity.tolerance:g} "
        f"({parity.samples} samples); first tensor that parts: {where}"
    )


def _copy_beside(source: Path | None, folder: Path) -> list[Path]:
    """Copy the configuration, tokenizer and processor files of a transformers folder, no weights and no code."""
    if source is None:
        return []
    copied = []
    for file in sorted({file for pattern in _BESIDE for file in Path(source).glob(pattern)}):
        if file.name.endswith(_WEIGHT_INDEXES) or file.name == "SOURCE.txt":
            continue
        with disk_errors(folder / file.name), write_aside(folder / file.name) as aside:
            shutil.copyfile(file, aside)
        copied.append(folder / file.name)
    return copied


def _result(graph: ir.Model, plan: _Plan, parity: Parity, files: list[Path], removed: dict[str, int]) -> ExportResult:
    counts = Counter(node.op_type for node in graph.graph.all_nodes())
    signature = onnx_file.signature(onnx_file.load(files[0], weights=False))
    return ExportResult(
        path=files[0],
        files=tuple(files),
        opset=plan.opset,
        attention=plan.attention,
        task=plan.task,
        nodes=sum(counts.values()),
        op_counts=dict(sorted(counts.items())),
        inputs=signature.inputs,
        outputs=signature.outputs,
        parity=parity,
        size_bytes=onnx_file.size_bytes(files[0]),
        passes=removed,
        warnings=plan.warnings,
    )
