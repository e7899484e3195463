"""Inspect what a scheme made, and write it with its plan: the same for every scheme."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from edgeopt.errors import InternalError, ModelError
from edgeopt.graph import files
from edgeopt.graph.editing import sort_nodes
from edgeopt.graph.macs import count_macs
from edgeopt.graph.outputs import open_exposed
from edgeopt.graph.requirements import note_minimum
from edgeopt.quantize.compared_outputs import hide_compared
from edgeopt.quantize.inspect.agreement import agreement
from edgeopt.quantize.inspect.coverage import inspect
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.inspect.layer_noise import layer_noise
from edgeopt.quantize.plan.plan import Plan, save_plan
from edgeopt.quantize.result import Coverage, LayerNoise, QuantizeFacts, QuantizeResult
from edgeopt.quantize.schemes.scheme import Converted, Request

_LOW_DB = 12.0
_CLOSER = {
    "static": "--ranges percentile, --max-drop with labelled samples, or --sensitivity to see which layers to --exclude",
    "dynamic": "--scheme static, or --exclude the layers before it",
    "float16": "--scheme bfloat16, or --exclude the nodes before it",
    "bfloat16": "--scheme float16, or --exclude the nodes before it",
    "weights-int8": "--exclude the layers before it",
    "weights-int4": "--scheme weights-int8, or --exclude the layers before it",
}
"""What comes closer to floating point, by the scheme that is too far from it."""


def write_quantized(converted: Converted, request: Request, output: Path) -> QuantizeResult:
    """Write the converted model to `output` and its plan beside it, and return what is to be known of it.

    Where no node changed, the file that was given is written.

    Raises:
        InternalError: onnxruntime does not load what was made.
        MachineError: the disk is full or `output` may not be written.
    """
    if request.path is None or request.target is None:
        raise InternalError("what is written needs the file it was made of, and a target")
    plan, samples = converted.plan(request), request.samples.take(request.config.noise_samples)
    made = converted.model
    if converted.calibrated is None:
        _check(made, str(request.path))
    exact = converted.exact or ExactOutputs(request.prepared.model, samples, request.config.threads)
    layers = layer_noise(exact, made, plan) if plan.tensors else exact.noise(made)
    answers = agreement(exact, made)
    if plan.integer_nodes:
        hide_compared(made, request.prepared.exposed)
    else:
        made = _as_given(request.path)
    coverage = inspect(made, count_macs(exact.model, samples[0]), plan, request.target, samples[0])
    oldest = note_minimum(made)
    files.save(made, output)
    plan_path = save_plan(plan, output)
    before, after = files.size_bytes(request.path), files.size_bytes(output)
    facts = QuantizeFacts(
        target=request.target.name,
        scheme=plan.scheme,
        samples=converted.samples,
        tensors=len(plan.tensors),
        coverage=coverage,
        layers=layers,
        sensitivity=converted.sensitivity,
        decisions=(*plan.decisions, *converted.afterwards),
        warnings=(*converted.warnings, *_warnings(plan, coverage, before, after), *far_outputs(layers, request.config.scheme)),
        size_bytes_before=before,
        size_bytes_after=after,
        min_onnxruntime=oldest,
        agreement=answers,
        metric=converted.metric,
    )
    return QuantizeResult(output, plan_path, facts)


def _as_given(path: Path) -> ir.Model:
    """Return the model at `path`, its nodes in order."""
    model = files.load(path)
    sort_nodes(model)
    return model


def _check(model: ir.Model, name: str) -> None:
    """Make sure that onnxruntime loads what was made, before it is written."""
    try:
        open_exposed(model, threads=1)
    except ModelError as error:
        raise InternalError(
            f"{name}: onnxruntime does not load the result ({error}); please report it with the model"
        ) from error


def _warnings(plan: Plan, coverage: Coverage, before: int, after: int) -> Iterator[str]:
    if plan.tensors and coverage.int8_macs_share == 0 and not coverage.quantized_macs_share:
        yield "no multiply-accumulate runs on integers on this provider; see the islands"
    if after >= before:
        yield f"the quantized model is not smaller: {after:,} bytes against {before:,}"


def far_outputs(layers: tuple[LayerNoise, ...], scheme: str) -> Iterator[str]:
    """Yield what to try where the outputs are far from those of the floating-point model."""
    for layer in layers:
        if layer.op == "output" and layer.sqnr_db < _LOW_DB:
            yield (
                f"output '{layer.name}' is far from floating point's: SQNR {layer.sqnr_db:.1f} dB, {_LOW_DB:g} is little; try "
                f"{_CLOSER[scheme]}"
            )
