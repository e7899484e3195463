"""From a prepared model and calibration data to a plan: place → calibrate → ranges → 7-bit weights → 16-bit activations.

Nothing is written and nothing is rounded here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgeopt.batches import Batches
from edgeopt.errors import RecipeError, nearest
from edgeopt.graph.matching import attribute, constant, name_of, named_nodes, names_of
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.calibrate.calibrator import Observations, ObserveConfig
from edgeopt.quantize.calibrate.observe import observe
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.activation_ranges import plan_ranges, product_inputs, unbounded
from edgeopt.quantize.plan.basis import PlanBasis
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.decisions import explain
from edgeopt.quantize.plan.infinite import drowned_by_bias, is_infinite
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.placement import place, rounded_tensors
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme
from edgeopt.quantize.plan.shared_ranges import followers, following
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.wide import widen
from edgeopt.targets.target import Rules, Target

_WIDE_SAMPLES = 16  # batches on which activations are tried at 8 bits; on four, 14 dB were missed on other sentences


@dataclass(frozen=True)
class Draft:
    """A plan, what was observed for it, and what it follows from."""

    plan: Plan
    observations: Observations
    basis: PlanBasis


def draft_plan(
    prepared: Prepared,
    calibration: Batches | CheckedSamples,
    target: Target,
    config: QuantizeConfig,
    saved: Plan | None = None,
) -> Draft:
    """Calibrate and plan; a saved plan is taken as it stands, with what it leaves in floating point.

    Raises:
        RecipeError: the saved plan is not for this model and target, or an option names a node that is not there.
    """
    model, rules = prepared.model, target.quantization.rules
    floating = excluded_nodes(model, config)
    if saved is not None:
        floating |= saved.floating
        _check_smoothing(saved, model, str(config.plan))
    nodes = place(model, floating, rules)
    samples = samples_of(calibration, prepared.signature)
    observations = _observe(prepared, samples.batches, nodes, config)
    samples.passed()
    seen = {name: item.channels for name, item in observations.tensors.items() if item.channels is not None and item.count}
    highs = {name: channels.extremes[1] for name, channels in seen.items()}
    basis = PlanBasis(model, target.quantization, highs, config.share_ranges)
    if saved is not None:
        plan = saved.without(config.exclude, Cause.EXCLUDED, basis=basis)
        _check_ranges(plan, model, str(config.plan))
        return Draft(plan, observations, basis)
    without = _without_range(model, nodes, observations)
    if without:
        nodes = place(model, {**without, **floating}, rules)
        known = {name: item for name, item in observations.tensors.items() if not is_infinite(item)}
        observations = replace(observations, tensors=known)
    plan = _planned(prepared, nodes, target, config)
    plan = basis.shared(plan_ranges(model, plan, observations, config))
    drowned = list(drowned_by_bias(model, plan)) if plan.scheme.bias == "int32" else []
    if drowned:
        plan = plan.without(drowned, Cause.BIAS_SIZE, basis=basis)
    if rules.shared and config.share_ranges:
        plan = _united(plan, rules)
    if target.quantization.reduce_range != "never":
        plan = _counted(basis.reduced(plan, {node.name for node in plan.nodes}))
    if rules.wide and config.wide_db is not None and plan.integer_nodes:
        exact, first = smoothed(model, plan), samples.take(_WIDE_SAMPLES)
        plan = widen(exact, plan, first, rules, goal_db=config.wide_db, threads=config.threads)
    return Draft(plan, observations, basis)


def _planned(prepared: Prepared, nodes: tuple[NodePlan, ...], target: Target, config: QuantizeConfig) -> Plan:
    """Return a plan without ranges."""
    wishes = target.quantization
    scheme = Scheme(
        activation=wishes.activation,
        weight=wishes.weight,
        per_channel=wishes.per_channel,
        symmetric_activation=wishes.symmetric_activation,
        symmetric_weight=wishes.symmetric_weight,
        per_channel_ops=tuple(wishes.rules.per_channel_ops) if wishes.per_channel else (),
        bias=wishes.rules.bias,
        norm_weight=wishes.rules.norm_weight,
    )
    decisions = (*prepared.decisions, *explain(scheme, nodes, target, config))
    return Plan(target.name, scheme, nodes, (), decisions, equalization=prepared.equalization)


def _check_smoothing(plan: Plan, model: ir.Model, where: str) -> None:
    """Raise a `RecipeError` if a saved plan smooths an activation with more or fewer channels than it has."""
    widths = {name: _width(readers[0]) for name, readers in product_inputs(model, plan.nodes).items()}
    for item in plan.smoothing:
        if item.name in widths and len(item.factors) != widths[item.name]:
            raise RecipeError(
                f"{where}: '{item.name}' has {widths[item.name]} channels, its smoothing {len(item.factors)} factors; "
                "make the plan again"
            )


def _width(node: ir.Node) -> int:
    """Return the number of input channels of a Gemm or MatMul with a constant matrix."""
    tensor = constant(node.inputs[1])
    shape = tensor.shape.numpy() if tensor is not None else (0, 0)
    return int(shape[1] if attribute(node, "transB", 0) else shape[0])


def _check_ranges(plan: Plan, model: ir.Model, where: str) -> None:
    """Raise a `RecipeError` if a saved plan has no range for a tensor that it rounds."""
    known = {tensor.name for tensor in plan.tensors}
    smoothed_ones = {item.name for item in plan.smoothing if item.scaled in known}
    missing = next((name for name in rounded_tensors(model, plan.nodes) if name not in known | smoothed_ones), None)
    if missing is not None:
        raise RecipeError(f"{where}: the plan rounds '{missing}' and has no range for it; make the plan again")


def _without_range(model: ir.Model, nodes: Sequence[NodePlan], observations: Observations) -> dict[str, Why]:
    """Return the integer nodes that touch a tensor for which there is no range: empty on every sample, or infinite."""
    causes = {
        name: Why(Cause.UNSEEN if statistics.count == 0 else Cause.INFINITE, name)
        for name, statistics in observations.tensors.items()
        if statistics.count == 0 or is_infinite(statistics)
    }
    if not causes:
        return {}
    for name, source in following(model, nodes):
        if source in causes:
            causes[name] = causes[source]
    integer = {node.name for node in nodes if node.precision != "float"}
    found: dict[str, Why] = {}
    for node in model.graph:
        why = next((causes[name] for name in names_of((*node.inputs, *node.outputs)) if name in causes), None)
        if node.name in integer and why is not None:
            found[name_of(node)] = why
    return found


def _united(plan: Plan, rules: Rules) -> Plan:
    """Return the plan with a decision that says how many activations share a range."""
    count = sum(tensor.own is not None for tensor in plan.tensors)
    reason = f"one scale around {', '.join(sorted(set(rules.shared)))} on this target (share_ranges)"
    return plan.decided("shared ranges", f"{count} activations", reason)


def _counted(plan: Plan) -> Plan:
    """Return the plan with a decision that says how many layers have 7-bit weights."""
    count = sum(node.reduce_range for node in plan.nodes)
    total = sum(node.op in WEIGHTED for node in plan.integer_nodes)
    return plan.decided("7-bit weights", f"{count} of {total} layers", "pair sums of u8·s8 products can saturate 16 bits there")


def excluded_nodes(model: ir.Model, config: QuantizeConfig) -> dict[str, Why]:
    """Return the nodes that the options keep in floating point.

    Raises:
        RecipeError: the prepared model has no node of that name.
    """
    names = set(named_nodes(model.graph))
    for name in config.exclude:
        if name not in names:
            raise RecipeError(f"exclude: the prepared model has no node '{name}'{nearest(name, names)}")
    return dict.fromkeys(config.exclude, Why(Cause.EXCLUDED))


def _observe(prepared: Prepared, calibration: Batches, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> Observations:
    derived = followers(prepared.model, nodes)
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


def _histograms(model: ir.Model, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> bool | frozenset[str]:
    """Return which tensors need more than their extremes; a cache keeps everything, so that other ranges can use it, too."""
    if config.cache is not None:
        return True
    if config.ranges == "auto":
        return unbounded(model, nodes)
    return config.ranges not in {"min-max", "moving-average"}


def _channel_axes(prepared: Prepared, nodes: tuple[NodePlan, ...], config: QuantizeConfig) -> Mapping[str, int]:
    """Return the activations whose channels matter: inputs of matrix products (last axis) and of convolutions (axis 1)."""
    integer = {node.name for node in nodes if node.precision != "float" and node.op == "Conv"}
    axes = {name_of(node.inputs[0]): 1 for node in prepared.model.graph if config.correct_bias and node.name in integer}
    if config.ranges == "auto" or config.correct_bias:
        axes |= dict.fromkeys(product_inputs(prepared.model, nodes), -1)
    return axes
