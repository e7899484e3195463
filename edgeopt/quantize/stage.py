"""The stage `quantize`: prepare → observe → plan → perform → inspect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import onnx_ir as ir

from edgeopt.batches import Batch, Batches
from edgeopt.errors import RecipeError
from edgeopt.graph import files
from edgeopt.graph.editing import copied, sort_nodes
from edgeopt.graph.macs import count_macs
from edgeopt.graph.requirements import note_minimum
from edgeopt.passes.input_channels import InputChannels
from edgeopt.passes.pointwise_products import PointwiseProducts
from edgeopt.quantize.algorithms.equalize.stage import apply_plans, equalized
from edgeopt.quantize.algorithms.rounding.stage import adapted
from edgeopt.quantize.apply.bias import correct_biases
from edgeopt.quantize.apply.clip import clip_weights
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.calibrate.calibrator import Observations
from edgeopt.quantize.calibrate.samples import checked
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.coverage import inspect
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.inspect.sqnr import layer_noise
from edgeopt.quantize.plan.draft import Draft, as_asked, draft_plan
from edgeopt.quantize.plan.plan import Decision, Plan, load_plan, save_plan
from edgeopt.quantize.preparation import checked_on, prepare_for
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.result import Coverage, QuantizeFacts, QuantizeResult
from edgeopt.quantize.schemes.carry_out import draft_by_scheme, quantize_by_scheme
from edgeopt.quantize.search.collapse import avoid_collapse
from edgeopt.quantize.search.exceptions import keep_metric, with_metric
from edgeopt.quantize.search.latency import keep_fast
from edgeopt.quantize.search.trials import Evaluate, Metric, Outcome, Trials
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
    prepared, outcome, samples = made.prepared, made.outcome, made.samples
    plan = outcome.plan
    quantized = outcome.quantized if plan.integer_nodes else files.load(model)
    padded, tables = _finish(quantized, target, config)
    coverage = inspect(quantized, count_macs(prepared.model, samples[0]), plan, target, samples[0])
    layers = layer_noise(prepared.model, quantized, plan, samples, threads=config.threads)
    output = Path(output)
    oldest = note_minimum(quantized)
    files.save(quantized, output)
    plan_path = save_plan(plan, output)
    before, after = files.size_bytes(model), files.size_bytes(output)
    facts = QuantizeFacts(
        target=target.name,
        scheme=plan.scheme,
        samples=made.draft.observations.samples,
        tensors=len(plan.tensors),
        coverage=coverage,
        layers=layers,
        sensitivity=outcome.sensitivity,
        decisions=(*plan.decisions, *_padding(padded, target), *_tables(tables)),
        warnings=(*filter(None, [outcome.warning]), *_warnings(plan, coverage, before, after)),
        size_bytes_before=before,
        size_bytes_after=after,
        min_onnxruntime=oldest,
    )
    return QuantizeResult(output, plan_path, facts)


def _finish(quantized: ir.Model, target: Target, config: QuantizeConfig) -> tuple[int, int]:
    """Bring the model into the form that runs; return how many inputs got more channels and how many tables became int8."""
    sort_nodes(quantized)
    if target.quantization.rules.pointwise_products:
        PointwiseProducts()(quantized)
    padding = InputChannels(target.quantization.conv_input_channels)
    padding(quantized)
    rounded = any(node.op_type == "DequantizeLinear" for node in quantized.graph)
    return padding.count, shrink_embeddings(quantized) if config.embeddings and rounded else 0


@dataclass(frozen=True)
class _Made:
    """Everything there is before anything is written."""

    prepared: Prepared
    draft: Draft
    samples: list[Batch]
    outcome: Outcome


def _make(model: Path, calibration: Batches, target: Target, config: QuantizeConfig, evaluate: Evaluate | None) -> _Made:
    """Prepare, plan and quantize, in memory."""
    if config.max_drop is not None and evaluate is None:
        raise RecipeError("max_drop is set, but nothing measures the metric; pass evaluate, a function of the model's path")
    target = as_asked(target, config)
    prepared, drafted = _draft(model, calibration, target, config)
    samples = list(islice(checked(calibration, prepared.signature), config.noise_samples))
    trials = _trials(prepared, drafted, samples, target, config)
    metric = None
    if evaluate is not None and (config.max_drop is not None or config.sensitivity):
        metric = Metric(evaluate, model, config.max_drop or 0.0)
    outcome = _search(drafted.plan, trials, (metric, target), config)
    if config.rounding == "adaptive":
        outcome = adapted(prepared, outcome, calibration, config)
    return _Made(prepared, drafted, samples, outcome)


def _draft(model: Path, calibration: Batches, target: Target, config: QuantizeConfig) -> tuple[Prepared, Draft]:
    """Prepare and plan; a saved plan is read here, once."""
    saved = load_plan(config.plan) if config.plan is not None else None
    prepared = prepare_for(model, target)
    prepared = checked_on(prepared, model, next(checked(calibration, prepared.signature)))
    if saved is not None:
        prepared = apply_plans(prepared, saved.equalization, str(config.plan))
    else:
        prepared = equalized(prepared, calibration, target, config)
    return prepared, draft_plan(prepared, calibration, target, config, saved)


def _trials(prepared: Prepared, drafted: Draft, samples: list[Batch], target: Target, config: QuantizeConfig) -> Trials:
    def make(plan: Plan) -> ir.Model:
        return _perform(prepared.model, plan, drafted.observations, config)

    def finished(quantized: ir.Model) -> ir.Model:
        copy = copied(quantized)
        _finish(copy, target, config)
        return copy

    return Trials(drafted.basis, make, finished, samples, config.threads)


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
        return _make(Path(model), calibration, target, config, evaluate).outcome.plan
    return _draft(Path(model), calibration, as_asked(target, config), config)[1].plan


def _search(plan: Plan, trials: Trials, measured: tuple[Metric | None, Target], config: QuantizeConfig) -> Outcome:
    """Quantize by the plan, or by one with the exceptions that the options ask for; `measured`: on what metric and target."""
    metric, target = measured
    if config.prefer_faster and plan.integer_nodes:
        plan, _ = keep_fast(plan, trials, target)
    if metric is not None and config.max_drop is not None:
        return keep_metric(plan, trials, metric)
    outcome = Outcome(plan, trials.make(plan))
    if config.collapse_db is not None and plan.integer_nodes and config.plan is None:
        outcome = avoid_collapse(plan, outcome.quantized, trials, wanted_db=config.collapse_db)
    if not config.sensitivity:
        return outcome
    floating = trials.floating(outcome.plan)
    layers = sensitivity(floating, outcome.quantized, outcome.plan, trials.samples, threads=config.threads)
    if metric is not None:
        layers = with_metric(outcome.plan, layers, trials, metric)
    return replace(outcome, sensitivity=layers)


def _perform(model: ir.Model, plan: Plan, observations: Observations, config: QuantizeConfig) -> ir.Model:
    """Quantize the prepared `model`, which is not changed; never more than one copy of its weights is made at a time."""
    floating = smoothed(model, plan) if plan.smoothing else model
    quantized = insert_qdq(clip_weights(floating, plan) if config.weight_ranges == "mse" else floating, plan)
    if config.correct_bias and plan.integer_nodes:
        seen = {name: item.channels for name, item in observations.tensors.items() if item.channels is not None and item.count}
        means = {name: channels.mean for name, channels in seen.items()}
        correct_biases(floating, quantized, means)
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
    elif coverage.int8_macs_share == 0 and not coverage.quantized_macs_share:
        yield "no multiply-accumulate runs on integers on this provider; see the islands"
    if after >= before:
        yield f"the quantized model is not smaller: {after:,} bytes against {before:,}"
