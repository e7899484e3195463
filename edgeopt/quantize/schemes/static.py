"""Static int8, with ranges from calibration: plan → search for exceptions → edit the graph → finish it for the target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import onnx_ir as ir

from edgeopt.errors import InternalError, RecipeError
from edgeopt.graph.editing import copied, sort_nodes
from edgeopt.passes.input_channels import InputChannels
from edgeopt.passes.pointwise_products import PointwiseProducts
from edgeopt.passes.quick_gelu import QuickGelu
from edgeopt.quantize.algorithms.equalize.stage import apply_plans, equalized
from edgeopt.quantize.algorithms.rounding.stage import adapted, adapted_if_better
from edgeopt.quantize.apply.embedding import shrink_embeddings
from edgeopt.quantize.apply.perform import perform
from edgeopt.quantize.compared_outputs import hide_compared
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.plan.plan import Decision, Plan
from edgeopt.quantize.planner import Draft, draft_plan
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.schemes.scheme import Converted, Request
from edgeopt.quantize.search.balance import balanced
from edgeopt.quantize.search.collapse import avoid_collapse
from edgeopt.quantize.search.exceptions import keep_metric, with_metric
from edgeopt.quantize.search.latency import keep_fast
from edgeopt.quantize.search.trials import Metric, Outcome, Trials
from edgeopt.targets.target import Target

REWRITES = True
_NOTHING = "no node can run on integers: the model was written as it was"
_UNTRAINED = "nothing was trained, since no node runs on integers"


def draft(request: Request) -> Plan:
    """Return the plan; exceptions are searched for, in memory, where the options want that, else nothing is quantized."""
    searches = request.config.max_drop is not None or request.config.prefer_faster
    if searches or _balances(request.config, _target(request)):
        return convert(request).plan(request)
    return _draft(request)[1].plan


def convert(request: Request) -> Converted:
    """Return the quantized model, in the form that runs on the target.

    Raises:
        RecipeError: `max_drop` is set, and nothing measures the metric.
    """
    config = request.config
    if config.max_drop is not None and request.evaluate is None:
        raise RecipeError("max_drop is set, but nothing measures the metric; pass evaluate, a function of the model's path")
    if config.train is not None:
        from edgeopt.quantize.training.graph_module import refuse_unknown  # PyTorch is an extra

        refuse_unknown(request.prepared.model)
    prepared, drafted = _draft(request, choose=config.max_drop is not None or not _balances(config, _target(request)))
    trials = _trials(prepared, drafted, request)
    outcome = _search(drafted, trials, (_metric(request), _target(request)), config)
    if config.rounding == "adaptive" and config.train is None:
        outcome = adapted_if_better(prepared, outcome, request.samples, config=config)
    if config.train is not None and outcome.plan.integer_nodes:
        from edgeopt.quantize.training.stage import trained  # PyTorch is an extra

        round_again = partial(adapted, prepared, config=config) if config.train.rounding == "adaptive" else None
        outcome = trained(prepared, outcome, list(request.samples), config.train, rounded=round_again)
    plan, model = outcome.plan, outcome.quantized
    padded, tables = _finish(model, _target(request), config) if plan.integer_nodes else (0, 0)
    return Converted(
        model,
        plan.scheme,
        plan.nodes,
        (),
        tuple(filter(None, [outcome.warning, *_warnings(plan, trials, config)])),
        drafted.observations.samples,
        calibrated=plan,
        afterwards=(*_padding(padded, _target(request)), *_tables(tables)),
        sensitivity=outcome.sensitivity,
        metric=outcome.metric if config.train is None and config.rounding == "nearest" else None,
        exact=trials.exact,
    )


def _warnings(plan: Plan, trials: Trials, config: QuantizeConfig) -> Iterator[str]:
    if plan.integer_nodes:
        yield trials.slower(plan)
        return
    yield _NOTHING
    if config.train is not None:
        yield _UNTRAINED


def _target(request: Request) -> Target:
    if request.target is None:
        raise InternalError("static quantization without a target")
    return request.target


def _metric(request: Request) -> Metric | None:
    config = request.config
    if request.evaluate is None or request.path is None or (config.max_drop is None and not config.sensitivity):
        return None
    return Metric(request.evaluate, request.path, config.max_drop or 0.0)


def _draft(request: Request, *, choose: bool = True) -> tuple[Prepared, Draft]:
    """Equalize and plan; `choose` ranges, or leave that for when it is known what floats."""
    config, saved, target = request.config, request.saved, _target(request)
    if saved is not None:
        prepared = apply_plans(request.prepared, saved.equalization, str(config.plan))
    else:
        prepared = equalized(request.prepared, request.samples, target, config)
    return prepared, draft_plan(prepared, request.samples, target, config, saved, choose=choose)


def _trials(prepared: Prepared, drafted: Draft, request: Request) -> Trials:
    config = request.config

    def make(plan: Plan) -> ir.Model:
        return perform(prepared.model, plan, drafted.observations, config)

    def finished(quantized: ir.Model) -> ir.Model:
        copy = copied(quantized)
        hide_compared(copy, prepared.exposed)
        _finish(copy, _target(request), config)
        return copy

    return Trials(drafted.basis, make, finished, request.samples.take(config.noise_samples), config.threads)


def _balances(config: QuantizeConfig, target: Target) -> bool:
    """Return whether layers may stay in floating point for what their integer form costs; a saved plan says so itself."""
    return config.float_layers == "auto" and config.plan is None and bool(target.quantization.costs.integer)


def _search(drafted: Draft, trials: Trials, measured: tuple[Metric | None, Target], config: QuantizeConfig) -> Outcome:
    """Quantize by the plan, or by one with the exceptions that the options ask for; `measured`: on what metric and target."""
    (metric, target), plan = measured, drafted.plan
    if config.prefer_faster and plan.integer_nodes:
        plan, _ = keep_fast(plan, trials, target)
    if metric is not None and config.max_drop is not None:
        return keep_metric(plan, trials, metric)
    if _balances(config, target):
        plan = balanced(plan, trials, drafted.choice)
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


def _finish(quantized: ir.Model, target: Target, config: QuantizeConfig) -> tuple[int, int]:
    """Bring the model into the form that runs; return how many inputs got more channels and how many tables became int8."""
    sort_nodes(quantized)
    if target.quantization.rules.pointwise_products:
        PointwiseProducts()(quantized)
    if "SiLU" in target.quantization.costs.floating:
        QuickGelu()(quantized)
    padding = InputChannels(target.quantization.conv_input_channels)
    padding(quantized)
    rounded = any(node.op_type == "DequantizeLinear" for node in quantized.graph)
    return padding.count, shrink_embeddings(quantized) if config.embeddings and rounded else 0


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
