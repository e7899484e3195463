"""The stage `quantize`: prepare → observe → plan → perform → inspect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import onnx

from edgeopt.data.batches import Batch, Batches
from edgeopt.errors import InternalError, RecipeError, nearest
from edgeopt.files import write_aside
from edgeopt.models import onnx_file
from edgeopt.models.onnx_macs import count_macs
from edgeopt.quantize.accuracy import Evaluate, Kept, Search, keep_metric
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.graph.outputs import same_outputs
from edgeopt.quantize.graph.prepare import Prepared, prepare
from edgeopt.quantize.graph.smooth import smooth
from edgeopt.quantize.observe.observer import Observations, ObserveConfig, observe
from edgeopt.quantize.observe.samples import checked
from edgeopt.quantize.perform.bias import correct_biases
from edgeopt.quantize.perform.coverage import Coverage, inspect
from edgeopt.quantize.perform.embedding import shrink_embeddings
from edgeopt.quantize.perform.qdq import insert_qdq
from edgeopt.quantize.perform.sqnr import layer_noise
from edgeopt.quantize.plan.placement import WEIGHTED, place, rounded_tensors
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, load_plan
from edgeopt.quantize.plan.planner import make_plan, product_inputs, unobserved
from edgeopt.quantize.plan.saturation import reduce_where_saturating
from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
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
    if config.max_drop is not None and evaluate is None:
        raise RecipeError("max_drop is set, but nothing measures the metric; pass evaluate, a function of the model's path")
    original = onnx_file.load(model)
    prepared = _prepare(original, str(model), calibration, target)
    plan, observations = _plan(prepared, calibration, target, config)
    samples = list(islice(checked(calibration, prepared.signature), config.noise_samples))
    kept = _carry_out(prepared, plan, observations, samples, measured=(Path(model), evaluate), config=config)
    plan = kept.plan
    quantized = kept.quantized if plan.integer_nodes else original
    tables = shrink_embeddings(quantized) if config.embeddings and plan.integer_nodes else 0
    coverage = inspect(quantized, count_macs(prepared.model, samples[0]), plan, target)
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
        sensitivity=kept.sensitivity,
        decisions=(*plan.decisions, *_tables(tables)),
        warnings=(*filter(None, [kept.warning]), *_warnings(plan, coverage, before, after)),
        size_bytes_before=before,
        size_bytes_after=after,
    )
    return QuantizeResult(output, plan_path, facts)


def _plan(prepared: Prepared, calibration: Batches, target: Target, config: QuantizeConfig) -> tuple[Plan, Observations]:
    """Observe and plan; a saved plan is taken as it stands, if it is one for this model and target."""
    saved = load_plan(config.plan) if config.plan is not None else None
    if saved is not None:
        _check_plan(saved, prepared, target, str(config.plan))
    if saved is not None:
        saved = _settled(prepared.model, saved)
        return saved, _observe(prepared, calibration, saved.nodes, config)
    nodes = place(prepared.model, _excluded(prepared.model, config))
    observations = _observe(prepared, calibration, nodes, config)
    plan = make_plan(prepared, nodes, observations, target=target, config=config)
    if target.quantization.reduce_range == "never":
        return plan, observations
    return _reduce(prepared, plan, observations, target), observations


def _check_plan(plan: Plan, prepared: Prepared, target: Target, where: str) -> None:
    if plan.target != target.name:
        raise RecipeError(f"{where}: the plan is for target {plan.target}, not {target.name}; make a plan for this target")
    names = {node.name for node in prepared.model.graph.node}
    for node in plan.nodes:
        if node.name not in names:
            raise RecipeError(
                f"{where}: the model has no node '{node.name}'{nearest(node.name, names)}; is it another model's plan?"
            )


def _settled(model: onnx.ModelProto, plan: Plan) -> Plan:
    """Place the nodes anew around those that the plan, as edited, leaves in floating point."""
    floating = {node.name for node in plan.nodes if node.precision == "float"}
    wanted = {node.name: node for node in plan.nodes}
    nodes = tuple(
        replace(node, reduce_range=wanted[node.name].reduce_range, reason=wanted[node.name].reason)
        if node.name in wanted
        else node
        for node in place(model, floating)
    )
    return replace(plan, nodes=nodes)


def _reduce(prepared: Prepared, plan: Plan, observations: Observations, target: Target) -> Plan:
    """Give 7-bit weights to all layers, or to those that can saturate, as the target wants."""
    if target.quantization.reduce_range == "always":
        nodes = tuple(replace(node, reduce_range=node.op in WEIGHTED) for node in plan.nodes)
        reduced = replace(plan, nodes=nodes)
    else:
        highs = {name: item.channels.extremes[1] for name, item in observations.tensors.items() if item.channels is not None}
        highs = {name: high for name, high in highs.items() if name not in {item.name for item in plan.smoothing}}
        reduced = reduce_where_saturating(_smoothed(prepared.model, plan), plan, highs)
    count = sum(node.reduce_range for node in reduced.nodes)
    total = sum(node.op in WEIGHTED for node in reduced.integer_nodes)
    decision = Decision("7-bit weights", f"{count} of {total} layers", "pair sums of u8·s8 products can saturate 16 bits there")
    return replace(reduced, decisions=(*reduced.decisions, decision))


def _carry_out(
    prepared: Prepared,
    plan: Plan,
    observations: Observations,
    samples: list[Batch],
    *,
    measured: tuple[Path, Evaluate | None],
    config: QuantizeConfig,
) -> Kept:
    """Quantize by the plan, or by one with as many exceptions as `max_drop` takes."""

    def make(plan: Plan) -> onnx.ModelProto:
        return _perform(_smoothed(prepared.model, plan), plan, observations, config)

    path, evaluate = measured
    if config.max_drop is None or evaluate is None:
        return Kept(plan, make(plan), (), "")
    search = Search(make, evaluate, evaluate(path), config.max_drop)
    return keep_metric(_smoothed(prepared.model, plan), plan, samples, search, threads=config.threads)


def _smoothed(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    smooth(copy, {item.name: item.factors for item in plan.smoothing})
    return copy


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


def _perform(model: onnx.ModelProto, plan: Plan, observations: Observations, config: QuantizeConfig) -> onnx.ModelProto:
    quantized = insert_qdq(model, plan)
    means = {name: item.channels.mean for name, item in observations.tensors.items() if item.channels is not None}
    if config.correct_bias and correct_biases(model, quantized, means):
        return insert_qdq(model, plan)
    return quantized


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
        channels=_channel_axes(prepared, nodes, config),
        config=ObserveConfig(
            histograms=config.ranges not in {"auto", "min-max", "moving-average"},
            momentum=config.momentum,
            threads=config.threads,
            memory_limit_bytes=config.memory_limit_bytes,
        ),
    )


def _channel_axes(prepared: Prepared, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> dict[str, int]:
    """Return the activations whose channels matter: inputs of matrix products (last axis) and of convolutions (axis 1)."""
    integer = {node.name for node in nodes if node.precision != "float" and node.op == "Conv"}
    axes = {node.input[0]: 1 for node in prepared.model.graph.node if config.correct_bias and node.name in integer}
    if config.ranges == "auto" or config.correct_bias:
        axes |= dict.fromkeys(product_inputs(prepared.model, nodes), -1)
    return axes


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
