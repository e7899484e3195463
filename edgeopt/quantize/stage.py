"""The stage `quantize`: prepare → observe → plan → perform → inspect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import onnx

from edgeopt.data.batches import Batch, Batches
from edgeopt.errors import RecipeError
from edgeopt.graph import onnx_file
from edgeopt.graph.macs import count_macs
from edgeopt.graph.order import sort_nodes
from edgeopt.graph.requirements import sign
from edgeopt.quantize.algorithms.equalize.stage import equalized
from edgeopt.quantize.algorithms.rounding.stage import adapted
from edgeopt.quantize.apply.bias import correct_biases
from edgeopt.quantize.apply.clip import clip_weights
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.apply.input_channels import pad_input_channels
from edgeopt.quantize.apply.pointwise import multiply_pointwise
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.calibrate.calibrator import Observations
from edgeopt.quantize.calibrate.samples import checked
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.coverage import Coverage, inspect
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.inspect.sqnr import layer_noise, outputs_db
from edgeopt.quantize.plan.make import as_asked, plan_prepared, prepare_checked, smoothed
from edgeopt.quantize.plan.plan import Decision, Plan, save_plan
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
from edgeopt.quantize.schemes.carry_out import draft_by_scheme, quantize_by_scheme
from edgeopt.quantize.search.exceptions import Evaluate, Guard, Kept, Search, avoid_collapse, keep_metric, with_metric
from edgeopt.quantize.search.latency import keep_fast
from edgeopt.targets.target import Target

_DEFAULTS = QuantizeConfig()


def quantize(
    model: Path,
    calibration: Batches,
    *,
    target: Target,
    output: Path,
    config: QuantizeConfig = _DEFAULTS,
    evaluate: Evaluate | None = None,
) -> QuantizeResult:
    """Quantize the floating-point ONNX file `model` for `target` and write it to `output`.

    Args:
        model: an ONNX file, with external data beside it if it has any.
        calibration: batches of real inputs; the shapes may differ from batch to batch.
        target: decides the integer types and where they pay.
        output: the quantized file; its plan is written beside it as ``<stem>.plan.json``.
        config: options.
        evaluate: gives the metric (larger is better) of an ONNX file, for `config.max_drop`.

    Returns:
        Paths and facts: scheme, coverage, per-layer noise, decisions with their reasons, warnings.

    Raises:
        ModelError: the model cannot be read, is quantized already, or has operators onnxruntime does not know.
        DataError: the calibration samples do not fit the model or hold numbers that are not finite.
        RecipeError: an option does not fit the model, or `max_drop` is set without `evaluate`.
        MachineError: the disk is full or `output` may not be written.
    """
    if config.scheme != "static":
        return quantize_by_scheme(model, calibration, target=target, output=output, config=config)
    made = _make(Path(model), calibration, target, config, evaluate)
    prepared, plan, kept, samples = made.prepared, made.kept.plan, made.kept, made.samples
    quantized = kept.quantized if plan.integer_nodes else onnx_file.load(model)
    padded, tables = _finish(quantized, target, config)
    coverage = inspect(quantized, count_macs(prepared.model, samples[0]), plan, target)
    layers = layer_noise(prepared.model, quantized, plan, samples, threads=config.threads)
    output = Path(output)
    oldest = sign(quantized)
    onnx_file.save(quantized, output)
    plan_path = save_plan(plan, output)
    before, after = onnx_file.size_bytes(model), onnx_file.size_bytes(output)
    facts = QuantizeFacts(
        target=target.name,
        scheme=plan.scheme,
        samples=made.observations.samples,
        tensors=len(plan.tensors),
        coverage=coverage,
        layers=layers,
        sensitivity=kept.sensitivity,
        decisions=(*plan.decisions, *_padding(padded, target), *_tables(tables)),
        warnings=(*filter(None, [kept.warning]), *_warnings(plan, coverage, before, after)),
        size_bytes_before=before,
        size_bytes_after=after,
        min_onnxruntime=oldest,
    )
    return QuantizeResult(output, plan_path, facts)


def _finish(quantized: onnx.ModelProto, target: Target, config: QuantizeConfig) -> tuple[int, int]:
    """Bring the model into the form that runs; return how many inputs got more channels and how many tables became int8."""
    sort_nodes(quantized.graph)
    if target.quantization.rules.pointwise_products:
        multiply_pointwise(quantized)
    padded = pad_input_channels(quantized, target.quantization.conv_input_channels)
    rounded = any(node.op_type == "DequantizeLinear" for node in quantized.graph.node)
    return padded, shrink_embeddings(quantized) if config.embeddings and rounded else 0


@dataclass(frozen=True)
class _Made:
    """Everything there is before anything is written."""

    prepared: Prepared
    observations: Observations
    samples: list[Batch]
    kept: Kept


def _make(model: Path, calibration: Batches, target: Target, config: QuantizeConfig, evaluate: Evaluate | None) -> _Made:
    """Prepare, observe, plan and perform, in memory."""
    if config.max_drop is not None and evaluate is None:
        raise RecipeError("max_drop is set, but nothing measures the metric; pass evaluate, a function of the model's path")
    target = as_asked(target, config)
    prepared = prepare_checked(model, calibration, target)
    prepared = equalized(prepared, calibration, target, config)
    plan, observations = plan_prepared(prepared, calibration, target, config)
    samples = list(islice(checked(calibration, prepared.signature), config.noise_samples))
    kept = _carry_out(prepared, plan, observations, samples, measured=(model, evaluate, target), config=config)
    if config.rounding == "adaptive":
        kept = adapted(prepared, kept, calibration, config)
    return _Made(prepared, observations, samples, kept)


def draft(
    model: Path,
    calibration: Batches,
    *,
    target: Target,
    config: QuantizeConfig = _DEFAULTS,
    evaluate: Evaluate | None = None,
) -> Plan:
    """Return the plan that `quantize` would carry out with the same arguments; nothing is written.

    With `config.max_drop` or `config.prefer_faster` the exceptions are searched for as `quantize` does, in memory; else
    nothing is quantized.

    Raises:
        ModelError, DataError, RecipeError: as `quantize` does.
    """
    if config.scheme != "static":
        return draft_by_scheme(model, calibration, target=target, config=config)
    if config.max_drop is not None or config.prefer_faster:
        return _make(Path(model), calibration, target, config, evaluate).kept.plan
    target = as_asked(target, config)
    prepared = prepare_checked(Path(model), calibration, target)
    prepared = equalized(prepared, calibration, target, config)
    return plan_prepared(prepared, calibration, target, config)[0]


def _carry_out(
    prepared: Prepared,
    plan: Plan,
    observations: Observations,
    samples: list[Batch],
    *,
    measured: tuple[Path, Evaluate | None, Target],
    config: QuantizeConfig,
) -> Kept:
    """Quantize by the plan, or by one with as many exceptions as `max_drop` takes."""

    def make(plan: Plan) -> onnx.ModelProto:
        return _perform(prepared.model, plan, observations, config)

    path, evaluate, target = measured

    def finished(quantized: onnx.ModelProto) -> onnx.ModelProto:
        copy = onnx_file.copy_of(quantized)
        _finish(copy, target, config)
        return copy

    if config.prefer_faster and plan.integer_nodes:
        model = smoothed(prepared.model, plan)
        plan, _ = keep_fast(model, plan, lambda plan: finished(make(plan)), samples, target)
    search = None
    if evaluate is not None and (config.max_drop is not None or config.sensitivity):
        search = Search(make, finished, evaluate, evaluate(path), config.max_drop or 0.0, target.quantization.rules)
    if search is not None and config.max_drop is not None:
        return keep_metric(smoothed(prepared.model, plan), plan, samples, search, threads=config.threads)
    quantized, warning = make(plan), ""
    if config.collapse_db is not None and plan.integer_nodes and config.plan is None:
        before = outputs_db(prepared.model, quantized, samples)
        if before < config.collapse_db:
            guard = Guard(make, before, config.collapse_db, target.quantization.rules)
            guarded = avoid_collapse(smoothed(prepared.model, plan), plan, quantized, samples, guard)
            plan, quantized, warning = guarded.plan, guarded.quantized, guarded.warning
    if not config.sensitivity:
        return Kept(plan, quantized, (), warning)
    model = smoothed(prepared.model, plan)
    layers = sensitivity(model, quantized, plan, samples, threads=config.threads)
    return Kept(plan, quantized, with_metric(model, plan, layers, search) if search else layers, warning)


def _perform(model: onnx.ModelProto, plan: Plan, observations: Observations, config: QuantizeConfig) -> onnx.ModelProto:
    """Quantize the prepared `model`, which is not changed; never more than one copy of its weights is made at a time."""
    limited = clip_weights if config.weight_ranges == "mse" else (lambda model, _: model)
    quantized = insert_qdq(limited(smoothed(model, plan), plan), plan)
    if config.correct_bias and plan.integer_nodes:
        means = {name: item.channels.mean for name, item in observations.tensors.items() if item.channels is not None}
        correct_biases(smoothed(model, plan) if plan.smoothing else model, quantized, means)
    return quantized


def _padding(count: int, target: Target) -> Iterator[Decision]:
    if count:
        multiple = target.quantization.conv_input_channels
        reason = "the int8 kernel then reads its input in place instead of copying it window by window"
        yield Decision("input channels", f"padded to a multiple of {multiple} before {count} convolutions", reason)


def _tables(count: int) -> Iterator[Decision]:
    if count:
        yield Decision(
            "embeddings", f"{count} tables as int8 rows", "a quarter of their size, each row with a scale of its own"
        )


def _warnings(plan: Plan, coverage: Coverage, before: int, after: int) -> Iterator[str]:
    if not plan.integer_nodes:
        yield "no node can run on integers: the model was written as it was"
    elif not coverage.int8_macs_share:
        yield "no multiply-accumulate runs on integers on this provider; see the islands"
    if after >= before:
        yield f"the quantized model is not smaller: {after:,} bytes against {before:,}"
