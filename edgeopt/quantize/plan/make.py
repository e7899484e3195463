"""From a model and calibration data to a plan: prepare → observe → plan. Nothing is written and nothing is rounded yet."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import onnx

from edgeopt.data.batches import Batches
from edgeopt.errors import InternalError, RecipeError, nearest
from edgeopt.graph import onnx_file
from edgeopt.graph.outputs import same_outputs
from edgeopt.quantize.apply.smooth import smooth
from edgeopt.quantize.calibrate.calibrator import Observations, ObserveConfig, observe
from edgeopt.quantize.calibrate.samples import checked
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.eligible import WEIGHTED
from edgeopt.quantize.plan.placement import place, rounded_tensors
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, load_plan
from edgeopt.quantize.plan.planner import make_plan, product_inputs, unbounded, unobserved
from edgeopt.quantize.plan.saturation import reduce_where_saturating
from edgeopt.quantize.prepare import Prepared, prepare
from edgeopt.quantize.search.wide import widen
from edgeopt.targets.target import Rules, Target

_WIDE_SAMPLES = 16  # batches on which activations are tried at 8 bits; on four, 14 dB were missed on other sentences


def as_asked(target: Target, config: QuantizeConfig) -> Target:
    """Return the target without the rules that the options switch off; a saved plan says itself which nodes are floating."""
    wanted = {"float_stem": config.float_stem, "float_sums": config.float_sums}
    off = {rule: False for rule, wished in wanted.items() if not wished or config.plan is not None}
    if not off:
        return target
    rules = target.quantization.rules.model_copy(update=off)
    return target.model_copy(update={"quantization": target.quantization.model_copy(update={"rules": rules})})


def plan_prepared(
    prepared: Prepared, calibration: Batches, target: Target, config: QuantizeConfig
) -> tuple[Plan, Observations]:
    """Observe and plan; a saved plan is taken as it stands, if it is one for this model and target."""
    saved = load_plan(config.plan) if config.plan is not None else None
    if saved is not None:
        _check_plan(saved, prepared, target, str(config.plan))
    if saved is not None:
        saved = _settled(prepared.model, saved, target.quantization.rules)
        return saved, _observe(prepared, calibration, saved.nodes, config)
    nodes = place(prepared.model, _excluded(prepared.model, config), target.quantization.rules)
    observations = _observe(prepared, calibration, nodes, config)
    plan = make_plan(prepared, nodes, observations, target=target, config=config)
    if target.quantization.reduce_range != "never":
        plan = _reduce(prepared, plan, observations, target)
    rules = target.quantization.rules
    if rules.wide and config.wide_db is not None and plan.integer_nodes:
        samples = list(islice(checked(calibration, prepared.signature), _WIDE_SAMPLES))
        model = smoothed(prepared.model, plan)
        plan = widen(model, plan, samples, rules, goal_db=config.wide_db, threads=config.threads)
    return plan, observations


def _check_plan(plan: Plan, prepared: Prepared, target: Target, where: str) -> None:
    if plan.target != target.name:
        raise RecipeError(f"{where}: the plan is for target {plan.target}, not {target.name}; make a plan for this target")
    names = {node.name for node in prepared.model.graph.node}
    for node in plan.nodes:
        if node.name not in names:
            raise RecipeError(
                f"{where}: the model has no node '{node.name}'{nearest(node.name, names)}; is it another model's plan?"
            )


def _settled(model: onnx.ModelProto, plan: Plan, rules: Rules) -> Plan:
    """Place the nodes anew around those that the plan, as edited, leaves in floating point."""
    floating = {node.name for node in plan.nodes if node.precision == "float"}
    wanted = {node.name: node for node in plan.nodes}
    nodes = tuple(
        replace(node, reduce_range=wanted[node.name].reduce_range, reason=wanted[node.name].reason)
        if node.name in wanted
        else node
        for node in place(model, floating, rules)
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
        reduced = reduce_where_saturating(smoothed(prepared.model, plan), plan, highs)
    count = sum(node.reduce_range for node in reduced.nodes)
    total = sum(node.op in WEIGHTED for node in reduced.integer_nodes)
    decision = Decision("7-bit weights", f"{count} of {total} layers", "pair sums of u8·s8 products can saturate 16 bits there")
    return replace(reduced, decisions=(*reduced.decisions, decision))


def smoothed(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Return a copy of `model` with the plan's smoothing carried out."""
    return smooth(model, {item.name: item.factors for item in plan.smoothing})


def prepare_checked(path: Path, calibration: Batches, target: Target) -> Prepared:
    """Prepare the model at `path`, and make sure on the first sample that it still computes the same."""
    name, rewrite = str(path), target.provider.name == "CPUExecutionProvider"
    prepared = prepare(onnx_file.load(path), name, rewrite=rewrite, bounded=_everywhere(target))
    first = next(checked(calibration, prepared.signature))
    if same_outputs(path, prepared.model, first):
        return prepared
    plain = prepare(onnx_file.load(path), name, rewrite=False)
    if not same_outputs(path, plain.model, first):
        raise InternalError(f"{name}: preparing the model changes what it computes; please report it with the model")
    doubt = Decision("rewrites", "none", "they changed what the model computes on the first sample; please report it")
    return replace(plain, decisions=(*plain.decisions, doubt))


def _everywhere(target: Target) -> bool:
    return target.quantization.rules.placement == "everywhere"


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
            histograms=_histograms(prepared.model, nodes, config),
            momentum=config.momentum,
            threads=config.threads,
            memory_limit_bytes=config.memory_limit_bytes,
            jobs=config.jobs,
            cache=config.cache,
        ),
    )


def _histograms(model: onnx.ModelProto, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> bool | frozenset[str]:
    """Return which tensors need more than their extremes; a cache keeps everything, so that other ranges can use it, too."""
    if config.cache is not None:
        return True
    if config.ranges == "auto":
        return unbounded(model, nodes)
    return config.ranges not in {"min-max", "moving-average"}


def _channel_axes(prepared: Prepared, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> dict[str, int]:
    """Return the activations whose channels matter: inputs of matrix products (last axis) and of convolutions (axis 1)."""
    integer = {node.name for node in nodes if node.precision != "float" and node.op == "Conv"}
    axes = {node.input[0]: 1 for node in prepared.model.graph.node if config.correct_bias and node.name in integer}
    if config.ranges == "auto" or config.correct_bias:
        axes |= dict.fromkeys(product_inputs(prepared.model, nodes), -1)
    return axes
