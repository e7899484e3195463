"""Keep a metric: leave the most sensitive layers in floating point (or give them 16 bits), as few as it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgeopt import progress
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import LayerNoise
from edgeopt.quantize.search.prefix import smallest_prefix
from edgeopt.quantize.search.trials import Metric, Outcome, Trials
from edgeopt.quantize.search.wide import widen_layers

_SUSPECTS = 5  # layers, worst first, whose effect on the metric is worth an evaluation each


def keep_metric(plan: Plan, trials: Trials, metric: Metric) -> Outcome:
    """Return the plan with the smallest number of exceptions, worst layers first, whose drop is allowed.

    Args:
        plan: to start from; what it leaves in floating point stays so.
        trials: how to try a plan.
        metric: what is to be kept.
    """
    quantized = trials.make(plan)
    drop = metric.drop(quantized, trials)
    if metric.allows(drop):
        return Outcome(_decided(plan, drop, "0 layers in floating point", metric), quantized, metric=metric.kept(drop))
    model = trials.floating(plan)
    layers = sensitivity(model, quantized, plan, trials.samples, threads=trials.threads)
    rules = trials.basis.quantization.rules

    def wider(count: int) -> Plan:
        return widen_layers(model, plan, [layer.name for layer in layers[:count]], rules)

    def floating(count: int) -> Plan:
        return trials.without(plan, layers[:count], Cause.ACCURACY)

    if rules.wide:
        count, drops = _smallest(wider, len(layers), trials, metric, {})
        if count is not None:
            kept = _decided(wider(count), drops[count], f"{count} layers with 16-bit activations", metric)
            return Outcome(kept, trials.make(kept), layers, metric=metric.kept(drops[count]))
    count, drops = _smallest(floating, len(layers), trials, metric, {0: drop})
    warning = ""
    if count is None:
        count = len(layers)
        warning = f"{_said(drops[count], metric)} even with all layers in floating point; {metric.max_drop} was allowed"
    kept = _decided(floating(count), drops[count], f"{count} layers in floating point", metric)
    return Outcome(kept, trials.make(kept), layers, warning, metric.kept(drops[count]))


def _smallest(
    candidate: Callable[[int], Plan], most: int, trials: Trials, metric: Metric, drops: dict[int, float]
) -> tuple[int | None, dict[int, float]]:
    """Return the smallest count whose candidate keeps the metric (None: none does), and the drops that were measured."""

    def holds(count: int) -> bool:
        if count not in drops:
            drops[count] = metric.drop(trials.make(candidate(count)), trials)
            progress.note(f"{count} exceptions: {_said(drops[count], metric)}")
        return metric.allows(drops[count])

    return smallest_prefix(most, holds), drops


def with_metric(plan: Plan, layers: Sequence[LayerNoise], trials: Trials, metric: Metric) -> tuple[LayerNoise, ...]:
    """Return the layers, worst first, with what the metric loses when one of the first few alone is on integers."""
    measured = []
    with progress.task("metric of suspects", total=min(_SUSPECTS, len(layers))) as advance:
        for layer in layers[:_SUSPECTS]:
            alone = trials.without(plan, [other for other in layers if other.name != layer.name], Cause.ACCURACY)
            drop = metric.drop(trials.make(alone), trials)
            left = metric.kept(drop).after
            measured.append(replace(layer, metric_drop=drop, metric=left, measured=metric.measured))
            advance()
    return (*measured, *layers[_SUSPECTS:])


def _decided(plan: Plan, drop: float, choice: str, metric: Metric) -> Plan:
    return plan.decided("exceptions", choice, _said(drop, metric))


def _said(drop: float, metric: Metric) -> str:
    return f"{metric.measured.change(100 * drop)} ({metric.kept(drop).text})"
