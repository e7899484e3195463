"""The stage `export`: write a PyTorch module as an ONNX file and compare both."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch

import edgeopt
from edgeopt import progress
from edgeopt.batches import Batches
from edgeopt.errors import ModelError
from edgeopt.export.attention import attention_for_export
from edgeopt.export.config import ExportConfig
from edgeopt.export.decoder_form import convert, merged_for, prove_decoding, takes_cache, write_descriptions
from edgeopt.export.inference import plain_path, refuse_untraceable
from edgeopt.export.naming import separate_outputs, tidy_names
from edgeopt.export.overflow_guards import guards_for_export
from edgeopt.export.parity import check_parity, first_divergence
from edgeopt.export.plan import Plan, decide
from edgeopt.export.precision import weights_in
from edgeopt.export.program import Program, evaluating, tensors
from edgeopt.export.result import Decoding, ExportResult, Parity
from edgeopt.export.rotary import rotary_for_export
from edgeopt.export.rounding import allow_for_rounding, remark
from edgeopt.export.trace import quiet, to_onnx, trace
from edgeopt.export.widen import WARNING, holds_bfloat16, runnable
from edgeopt.files import disk_errors, write_aside
from edgeopt.graph import files as onnx_files
from edgeopt.graph.generation import Generation
from edgeopt.passes.pipelines import optimize
from edgeopt.targets.target import Target

_DEFAULTS = ExportConfig()
_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")
_WEIGHT_INDEXES = (".safetensors.index.json", ".bin.index.json")


def export(
    model: torch.nn.Module, samples: Batches | None, *, target: Target, output: Path, config: ExportConfig = _DEFAULTS
) -> ExportResult:
    """Export `model` to ``output/model.onnx`` and compare it with PyTorch on `samples`.

    Args:
        model: on the CPU; temporarily put into evaluation mode and converted to the type in `config`, then restored.
        samples: real batches, named as the arguments of the model's forward; None, or samples without the caches a
            decoder takes: random ones of the model's family.
        target: determines opset and form of attention.
        output: the folder to write; created if necessary.
        config: options that override the target's.

    Raises:
        ModelError: no family knows the model's type; it cannot be traced; an axis is not dynamic; a weight or an output
            leaves the range of the type; or the outputs differ by more than the tolerance.
        DataError: the samples are empty or disagree with each other.
        RecipeError: the configuration names unknown inputs or outputs.
    """
    refuse_untraceable(model)
    with weights_in(model, config.dtype):
        return _export(merged_for(decide(model, samples, target=target, config=config)), Path(output), config)


def _export(plan: Plan, output: Path, config: ExportConfig) -> ExportResult:
    program = Program(plan.module, list(plan.example))
    with evaluating(program), plain_path(), rotary_for_export(program.module):
        with _named_where_fixed(config.dynamic):
            program.name_outputs(tensors(plan.example, program.inputs), plan.outputs)
            graph, exported = _build(program, plan)
        named = graph.clone()
        with quiet():
            removed = optimize(graph, merge=plan.projections == "merged")
        separate_outputs(graph)
        tidy_names(graph)
        _describe(graph, plan, config)
        narrow = holds_bfloat16(graph)
        with _aside(output) as folder:
            written = onnx_files.save(graph, folder / "model.onnx")
            parity = check_parity(program, runnable(graph, written, folder), plan.checks, tolerance=plan.tolerance)
            if config.tolerance is None:
                parity = allow_for_rounding(parity, program, plan.checks)
            if not parity.passed:
                where = first_divergence(program, named, exported, plan.checks, tolerance=plan.tolerance)
                raise ModelError(_parted(parity, where))
            form = _decoder_form(graph, replace(plan, tolerance=parity.tolerance), folder)
            files = [file.replace(output / file.name) for file in reversed(form.written or written)][::-1]
    files += _copy_beside(config.source_folder, output)
    if form.facts is not None:
        files += write_descriptions(form.facts, output)
    amplified = remark(parity, plan.tolerance)
    warnings = (*plan.warnings, *program.remarks, *([WARNING] if narrow else []), *amplified, *form.remarks)
    result = _result(graph, replace(plan, warnings=warnings), parity, files, removed)
    return replace(result, decoder=form.facts.form if form.facts is not None else "", decoding=form.decoding)


@dataclass(frozen=True)
class _Form:
    """What became of a decoder; nothing of any other model."""

    facts: Generation | None = None
    decoding: Decoding | None = None
    remarks: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()


def _decoder_form(graph: ir.Model, plan: Plan, folder: Path) -> _Form:
    """Bring a decoder into the form of its target, write it again, and decode with it beside PyTorch."""
    if not takes_cache(plan, graph.graph):
        return _Form()
    facts, remarks = convert(graph, plan)
    if facts.form == "portable":
        return _Form(facts, None, remarks)
    written = tuple(onnx_files.save(graph, folder / "model.onnx", external=True))
    return _Form(facts, prove_decoding(written[0], facts, plan), remarks, written)


@contextmanager
def _named_where_fixed(dynamic: Sequence[str]) -> Iterator[None]:
    """Add the axes that were made dynamic to an error, because another image size is its most likely cause."""
    try:
        yield
    except ModelError as error:
        if not dynamic:
            raise
        asked = " and ".join(f"'{name}'" for name in dynamic)
        raise ModelError(f"{asked} cannot be dynamic: {error}; leave them out of 'dynamic' to export one fixed size") from error


@contextmanager
def _aside(output: Path) -> Iterator[Path]:
    """Yield a temporary folder inside `output`, so that a model that fails the comparison is never in its final place."""
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as folder:
            yield Path(folder)


def _build(program: Program, plan: Plan) -> tuple[ir.Model, torch.export.ExportedProgram]:
    replaced = attention_for_export(program.module, plan.attention), guards_for_export(program.module)
    with replaced[0], replaced[1], progress.task("trace and convert", total=2) as advance:
        traced = trace(program, tensors(plan.example, program.inputs), plan.axes)
        advance()
        graph, exported = to_onnx(program, traced, plan.axes, opset=plan.opset, attention=plan.attention)
        advance()
    return graph, exported


def _describe(graph: ir.Model, plan: Plan, config: ExportConfig) -> None:
    """Write producer, source and target into the file; no time and no path, so that equal inputs give equal bytes."""
    graph.producer_name = "edgeopt"
    graph.producer_version = edgeopt.__version__
    facts = {
        "source": config.source or "",
        "family": plan.family,
        "task": plan.task,
        "axes": json.dumps({name: axes for name, axes in plan.axes.items() if axes}, sort_keys=True),
        "attention": plan.attention,
        "projections": plan.projections,
        "dtype": plan.dtype,
        "opset": str(plan.opset),
        "version": edgeopt.__version__,
        "torch": torch.__version__,
    }
    graph.metadata_props.update({f"edgeopt.{key}": value for key, value in facts.items() if value})


def _parted(parity: Parity, where: str) -> str:
    return (
        f"the ONNX model differs from PyTorch: relative error {parity.relative_error:.3g}, allowed {parity.tolerance:g} "
        f"({parity.samples} samples); first tensor that diverges: {where}"
    )


def _copy_beside(source: Path | None, folder: Path) -> list[Path]:
    """Copy the configuration, tokenizer and processor files of a transformers folder, no weights and no code."""
    if source is None:
        return []
    copied = []
    for file in sorted({file for pattern in _BESIDE for file in Path(source).glob(pattern)}):
        if file.name.endswith(_WEIGHT_INDEXES) or file.name == "SOURCE.txt" or not file.is_file():
            continue
        with disk_errors(folder / file.name), write_aside(folder / file.name) as aside:
            shutil.copyfile(file, aside)
        copied.append(folder / file.name)
    return copied


def _result(graph: ir.Model, plan: Plan, parity: Parity, files: list[Path], removed: dict[str, int]) -> ExportResult:
    counts = Counter(node.op_type for node in graph.graph.all_nodes())
    signature = onnx_files.signature(onnx_files.load(files[0]))
    return ExportResult(
        path=files[0],
        files=tuple(files),
        opset=plan.opset,
        dtype=plan.dtype,
        attention=plan.attention,
        projections=plan.projections,
        family=plan.family,
        task=plan.task,
        nodes=sum(counts.values()),
        op_counts=dict(sorted(counts.items())),
        inputs=signature.inputs,
        outputs=signature.outputs,
        parity=parity,
        size_bytes=onnx_files.size_bytes(files[0]),
        passes=removed,
        warnings=plan.warnings,
    )
