"""From a prepared model and calibration data to a plan: place → calibrate → ranges → 7-bit weights → 16-bit activations.

Nothing is written and nothing is rounded here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.batches import Batches
from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.graph import files
from edgeopt.graph.matching import attribute, constant, name_of, named_nodes, names_of
from edgeopt.quantize.apply.perform import perform
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.calibrate.calibrator import Observations, ObserveConfig
from edgeopt.quantize.calibrate.observe import observe
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of
from edgeopt.quantize.config import QuantizeConfig, Ranges
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.output_parts import Noises
from edgeopt.quantize.plan.activation_ranges import Known, plan_ranges, product_inputs, unbounded
from edgeopt.quantize.plan.basis import PlanBasis
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.described import explain
from edgeopt.quantize.plan.infinite_nodes import drowned_by_bias, is_infinite
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.placement import place, rounded_tensors
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme
from edgeopt.quantize.plan.shared_ranges import followers, following
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.range_choice import WAYS, Choice
from edgeopt.quantize.search.simulation import Simulation
from edgeopt.quantize.search.trials import LARGEST_BYTES
from edgeopt.quantize.search.wide import widen
from edgeopt.targets.target import Rules, Target

_WIDE_SAMPLES = 16  # batches on which activations are tried at 8 bits; on four, 14 dB were missed on other sentences
_HELD_ASIDE = 8  # batches at most, and a quarter of them all
_JUDGED = 12  # batches, with those that calibration saw, where fewer are held aside: a clipped outlier may be in any
_FEWEST = 8  # batches: of fewer none is held aside
_COUNTED = 1 << 21, 1 << 14  # values of a tensor, in all and in one batch, that are enough for its histogram


@dataclass(frozen=True)
class Draft:
    """A plan, what was observed for it, and what it follows from."""

    plan: Plan
    observations: Observations
    basis: PlanBasis
    choice: Choice | None = None
    """How ranges are chosen, where that was put off."""


def draft_plan(
    prepared: Prepared,
    calibration: Batches | CheckedSamples,
    target: Target,
    config: QuantizeConfig,
    saved: Plan | None = None,
    *,
    choose: bool = True,
) -> Draft:
    """Calibrate and plan; a saved plan is taken as it stands, with what it leaves in floating point.

    Args:
        prepared: the model.
        calibration: data.
        target: where it is to run.
        config: options.
        saved: the plan that is to be carried out again.
        choose: compare ways to choose ranges, where that is asked for, or leave it to the caller, who will know more.

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
    compares = saved is None and config.ranges == "auto" and files.weights_bytes(model) <= LARGEST_BYTES
    observations = _observe(prepared, samples.batches, nodes, config, compares=compares)
    samples.passed()
    if not compares:
        observations = observations.joined()
    if saved is not None:
        basis = _basis(prepared, observations, target, config)
        plan = saved.without(config.exclude, Cause.EXCLUDED, basis=basis)
        _check_ranges(plan, model, str(config.plan))
        return Draft(plan, observations, basis)
    planning = _Planning(prepared, target, config, floating, nodes)
    if not compares:
        plan = planning.plan(observations, config.ranges)
        return _widened(Draft(plan, observations, _basis(prepared, observations, target, config)), samples, target, config)
    basis = _basis(prepared, observations, target, config)
    known = Known()
    plans = {way: planning.plan(observations, way, known) for way in WAYS}
    held = observations.held[:_HELD_ASIDE]
    batches = held if len(held) == _HELD_ASIDE else (*held, *samples.take(_JUDGED - len(held)))
    choice = Choice(plans, batches, len(held), lambda way: planning.plan(observations.joined(), way))
    drafted = Draft(plans["auto"], observations, basis, choice)
    if not choose:
        return drafted
    plan = choice.by(_judge(choice, drafted, config))
    return _widened(replace(drafted, plan=plan, choice=None), samples, target, config)


def _basis(prepared: Prepared, observations: Observations, target: Target, config: QuantizeConfig) -> PlanBasis:
    highs: dict[str, NDArray[Any]] = {}
    for name, item in (*observations.tensors.items(), *observations.aside.items()):
        if item.channels is not None and item.count:
            high = item.channels.extremes[1]
            highs[name] = np.maximum(highs[name], high) if name in highs else high
    return PlanBasis(prepared.model, target.quantization, highs, config.share_ranges)


@dataclass(frozen=True)
class _Planning:
    """What a plan is made of beside the observations."""

    prepared: Prepared
    target: Target
    config: QuantizeConfig
    floating: Mapping[str, Why]
    nodes: tuple[NodePlan, ...]
    """As placed before anything was observed."""

    def plan(self, observations: Observations, ranges: Ranges, known: Known | None = None) -> Plan:
        """Return the plan with 8-bit activations whose ranges are chosen in this way."""
        model, rules, nodes = self.prepared.model, self.target.quantization.rules, self.nodes
        basis = _basis(self.prepared, observations, self.target, self.config)
        without = _without_range(model, nodes, observations)
        if without:
            nodes = place(model, {**without, **self.floating}, rules)
            finite = {name: item for name, item in observations.tensors.items() if not is_infinite(item)}
            observations = replace(observations, tensors=finite)
        plan = _planned(self.prepared, nodes, self.target, self.config)
        config = self.config.model_copy(update={"ranges": ranges})
        plan = basis.shared(plan_ranges(model, plan, observations, config, known))
        drowned = list(drowned_by_bias(model, plan)) if plan.scheme.bias == "int32" else []
        if drowned:
            plan = plan.without(drowned, Cause.BIAS_SIZE, basis=basis)
        if rules.shared and self.config.share_ranges:
            plan = _united(plan, rules)
        if self.target.quantization.reduce_range != "never":
            plan = _counted(basis.reduced(plan, {node.name for node in plan.nodes}))
        return plan


def _judge(choice: Choice, drafted: Draft, config: QuantizeConfig) -> Callable[[Plan], Noises]:
    """Return what gives the noise of the outputs under a plan: simulated where the plans differ in ranges alone.

    Weights of one scale per tensor bring as much noise as activations, so there the plans are carried out.
    """
    model, plan, batches = drafted.basis.model, drafted.plan, choice.batches
    if choice.in_ranges_alone and plan.scheme.per_channel and plan.integer_nodes:
        try:
            simulation = Simulation(model, plan, batches, threads=config.threads)
        except ModelError:  # a subgraph reads what would be switched
            pass
        else:
            integer, numbers = plan.on_integers, range(len(batches))
            return lambda other: simulation.shares(integer, other, numbers)
    exact = ExactOutputs(model, batches, config.threads)
    return lambda other: exact.shares(perform(model, other, drafted.observations, config))


def _widened(drafted: Draft, samples: CheckedSamples, target: Target, config: QuantizeConfig) -> Draft:
    """Return the draft with 16-bit activations where the target has them and 8 bits lose too much."""
    plan, rules = drafted.plan, target.quantization.rules
    if not rules.wide or config.wide_db is None or not plan.integer_nodes:
        return drafted
    exact, first = smoothed(drafted.basis.model, plan), samples.take(_WIDE_SAMPLES)
    return replace(drafted, plan=widen(exact, plan, first, rules, goal_db=config.wide_db, threads=config.threads))


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


def _observe(
    prepared: Prepared, calibration: Batches, nodes: tuple[NodePlan, ...], config: QuantizeConfig, *, compares: bool
) -> Observations:
    derived = followers(prepared.model, nodes)
    tensors = [name for name in rounded_tensors(prepared.model, nodes) if name not in derived]
    aside = compares or config.cache is not None  # (a cache is for runs that compare and for others)
    return observe(
        prepared.model,
        calibration,
        tensors,
        signature=prepared.signature,
        channels=_channel_axes(prepared, nodes, config),
        config=ObserveConfig(
            histograms=compares or _histograms(prepared.model, nodes, config),
            counted=max(_COUNTED[0] // max(len(calibration), 1), _COUNTED[1]),
            momentum=config.momentum,
            threads=config.threads,
            memory_limit_bytes=config.memory_limit_bytes,
            jobs=config.jobs,
            aside=min(_HELD_ASIDE, len(calibration) // 4) if aside and len(calibration) >= _FEWEST else 0,
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
