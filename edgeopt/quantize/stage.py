"""The stage `quantize`: prepare → observe → plan → perform → inspect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import onnx

from edgeopt.data.batches import Batches
from edgeopt.errors import InternalError, RecipeError, nearest
from edgeopt.files import write_aside
from edgeopt.models import onnx_file
from edgeopt.models.onnx_macs import count_macs
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.graph.outputs import same_outputs
from edgeopt.quantize.graph.prepare import Prepared, prepare
from edgeopt.quantize.graph.smooth import smooth
from edgeopt.quantize.observe.observer import Observations, ObserveConfig, observe
from edgeopt.quantize.observe.samples import checked
from edgeopt.quantize.perform.coverage import Coverage, inspect
from edgeopt.quantize.perform.qdq import insert_qdq
from edgeopt.quantize.perform.sqnr import layer_noise
from edgeopt.quantize.plan.placement import place, rounded_tensors
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan
from edgeopt.quantize.plan.planner import make_plan, product_inputs, unobserved
from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
from edgeopt.targets.target import Target

_DEFAULTS = QuantizeConfig()


def quantize(
    model: Path, calibration: Batches, *, target: Target, output: Path, config: QuantizeConfig = _DEFAULTS
) -> QuantizeResult:
    """Quantize the floating-point ONNX file `model` for `target` and write it to `output`.

    Args:
        model: an ONNX file, with external data beside it if it has any.
        calibration: batches of real inputs; the shapes may differ from batch to batch.
        target: decides the integer types and where they pay.
        output: the quantized file; its plan is written beside it as ``<stem>.plan.json``.
        config: options.

    Returns:
        Paths and facts: scheme, coverage, per-layer noise, decisions with their reasons, warnings.

    Raises:
        ModelError: the model cannot be read, is quantized already, or has operators onnxruntime does not know.
        DataError: the calibration samples do not fit the model or hold numbers that are not finite.
        MachineError: the disk is full or `output` may not be written.
    """
    original = onnx_file.load(model)
    prepared = _prepare(original, str(model), calibration, target)
    nodes = place(prepared.model, _excluded(prepared.model, config))
    observations = _observe(prepared, calibration, nodes, config)
    plan = make_plan(prepared, nodes, observations, target=target, config=config)
    smoothed = onnx.ModelProto()
    smoothed.CopyFrom(prepared.model)
    smooth(smoothed, {item.name: item.factors for item in plan.smoothing})
    quantized = insert_qdq(smoothed, plan, {}) if plan.integer_nodes else original
    first = next(checked(calibration, prepared.signature))
    coverage = inspect(quantized, count_macs(prepared.model, first), plan, target)
    samples = list(islice(checked(calibration, prepared.signature), config.noise_samples))
    layers = layer_noise(prepared.model, quantized, plan, samples, threads=config.threads)
    output, plan_path = Path(output), Path(output).with_suffix(".plan.json")
    onnx_file.save(quantized, output)
    with write_aside(plan_path) as aside:
        aside.write_text(plan.to_json(), encoding="utf-8")
    before, after = onnx_file.size_bytes(model), onnx_file.size_bytes(output)
    facts = QuantizeFacts(
        target=target.name,
        scheme=plan.scheme,
        samples=observations.samples,
        tensors=len(plan.tensors),
        coverage=coverage,
        layers=layers,
        decisions=plan.decisions,
        warnings=tuple(_warnings(plan, coverage, before, after)),
        size_bytes_before=before,
        size_bytes_after=after,
    )
    return QuantizeResult(output, plan_path, facts)


def _prepare(original: onnx.ModelProto, name: str, calibration: Batches, target: Target) -> Prepared:
    """Prepare the model, and make sure on the first sample that it still computes the same."""
    prepared = prepare(original, name, rewrite=target.provider.name == "CPUExecutionProvider")
    first = next(checked(calibration, prepared.signature))
    if same_outputs(original, prepared.model, first):
        return prepared
    plain = prepare(original, name, rewrite=False)
    if not same_outputs(original, plain.model, first):
        raise InternalError(f"{name}: preparing the model changes what it computes; please report it with the model")
    doubt = Decision("rewrites", "none", "they changed what the model computes on the first sample; please report it")
    return replace(plain, decisions=(*plain.decisions, doubt))


def _excluded(model: onnx.ModelProto, config: QuantizeConfig) -> set[str]:
    names = {node.name for node in model.graph.node}
    for name in config.exclude:
        if name not in names:
            raise RecipeError(f"exclude: the prepared model has no node '{name}'{nearest(name, names)}")
    return set(config.exclude)


def _observe(prepared: Prepared, calibration: Batches, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> Observations:
    derived = unobserved(prepared.model, nodes)
    tensors = [name for name in rounded_tensors(prepared.model, nodes) if name not in derived]
    return observe(
        prepared.model,
        calibration,
        tensors,
        signature=prepared.signature,
        channels=dict.fromkeys(product_inputs(prepared.model, nodes), -1) if config.ranges == "auto" else {},
        config=ObserveConfig(
            histograms=config.ranges not in {"min-max", "moving-average"},
            momentum=config.momentum,
            threads=config.threads,
            memory_limit_bytes=config.memory_limit_bytes,
        ),
    )


def _warnings(plan: Plan, coverage: Coverage, before: int, after: int) -> Iterator[str]:
    if not plan.integer_nodes:
        yield "no node can run on integers: the model was written as it was"
    elif not coverage.int8_macs_share:
        yield "no multiply-accumulate runs on integers on this provider; see the islands"
    if after >= before:
        yield f"the quantized model is not smaller: {after:,} bytes against {before:,}"
