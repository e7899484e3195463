"""Keep a metric: leave the most sensitive layers in floating point, as few as it takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from edgeopt import progress
from edgeopt.data.batches import Batch
from edgeopt.graph import onnx_file
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.inspect.sqnr import LayerNoise, outputs_db
from edgeopt.quantize.plan.placement import place
from edgeopt.quantize.plan.plan import Decision, Plan
from edgeopt.quantize.search.prefix import smallest_prefix
from edgeopt.quantize.search.wide import widen_layers
from edgeopt.targets.target import Rules

_DIGITS = 1e-9  # differences of metrics this small are float64's own
_SUSPECTS = 5  # layers, worst first, whose effect on the metric is worth an evaluation each
Evaluate = Callable[[Path], float]
"""Gives the metric of an ONNX file; larger is better."""


@dataclass(frozen=True)
class Kept:
    """The plan that keeps the metric, what it makes of the model, the sensitivities (if looked at) and a warning or ""."""

    plan: Plan
    quantized: onnx.ModelProto
    sensitivity: tuple[LayerNoise, ...]
    warning: str


@dataclass(frozen=True)
class Search:
    """What the search needs: how a plan is carried out, the metric, what it was before, and how much of it may go."""

    make: Callable[[Plan], onnx.ModelProto]
    finished: Callable[[onnx.ModelProto], onnx.ModelProto]
    """Gives a copy in the form that will run, which is what the metric is measured on."""
    evaluate: Evaluate
    baseline: float
    max_drop: float
    rules: Rules


@dataclass(frozen=True)
class Guard:
    """What avoiding a collapse needs: how a plan is carried out, the outputs' SQNR (found, wanted), the target's rules."""

    make: Callable[[Plan], onnx.ModelProto]
    found_db: float
    wanted_db: float
    rules: Rules


def keep_metric(model: onnx.ModelProto, plan: Plan, samples: Sequence[Batch], search: Search, *, threads: int) -> Kept:
    """Return the plan with the smallest number of floating-point exceptions, worst layers first, whose drop is allowed.

    Args:
        model: prepared and smoothed, floating point.
        plan: without exceptions.
        samples: a few batches for the sensitivities.
        search: how to try a plan.
        threads: for the sensitivities.
    """
    quantized = search.make(plan)
    drop = search.baseline - _measure(quantized, search)
    if _is_allowed(drop, search):
        return Kept(_decided(plan, drop, 0), quantized, (), "")
    layers = sensitivity(model, quantized, plan, samples, threads=threads)
    drops = {0: drop}

    if search.rules.wide:
        wide = _wider(model, plan, layers, search)
        if wide is not None:
            return Kept(*wide, layers, "")

    def holds(count: int) -> bool:
        if count not in drops:
            drops[count] = search.baseline - _measure(search.make(_except(model, plan, layers[:count], search.rules)), search)
            progress.note(f"{count} layers in floating point: the metric drops by {drops[count]:.4f}")
        return _is_allowed(drops[count], search)

    count = smallest_prefix(len(layers), holds)
    warning = ""
    if count is None:
        count = len(layers)
        warning = (
            f"the metric drops by {drops[count]:.4f} even with all layers in floating point; {search.max_drop} was allowed"
        )
    kept = _except(model, plan, layers[:count], search.rules)
    return Kept(_decided(kept, drops[count], count), search.make(kept), layers, warning)


def avoid_collapse(
    model: onnx.ModelProto, plan: Plan, quantized: onnx.ModelProto, samples: Sequence[Batch], guard: Guard
) -> Kept:
    """Leave the fewest of the worst layers in floating point that bring the outputs' SQNR on the samples to what is wanted."""
    before = guard.found_db
    layers = sensitivity(model, quantized, plan, samples, threads=1)
    best: dict[int, tuple[onnx.ModelProto, float]] = {}
    """The smallest count that held, alone: each candidate is as large as the model."""

    def holds(count: int) -> bool:
        candidate = guard.make(_except(model, plan, layers[:count], guard.rules))
        found = outputs_db(model, candidate, samples)
        if found >= guard.wanted_db and count < min(best, default=len(layers) + 1):
            best.clear()
            best[count] = candidate, found
        return found >= guard.wanted_db

    count = smallest_prefix(len(layers), holds)
    if count is None:
        warning = (
            f"the outputs collapse: {before:.1f} dB, and no number of floating layers brings them to {guard.wanted_db:g} dB"
        )
        return Kept(plan, quantized, layers, warning)
    kept = _except(model, plan, layers[:count], guard.rules)
    floating, after = best[count]
    names = ", ".join(layer.name for layer in layers[:count][:3]) + (" …" if count > 3 else "")
    reason = f"outputs of {before:.1f} dB would be a collapse (collapse_db); with {names} floating they have {after:.1f} dB"
    decision = Decision("exceptions", f"{count} layers in floating point", reason)
    return Kept(replace(kept, decisions=(*kept.decisions, decision)), floating, layers, "")


def with_metric(model: onnx.ModelProto, plan: Plan, layers: Sequence[LayerNoise], search: Search) -> tuple[LayerNoise, ...]:
    """Return the layers, worst first, with what the metric loses when one of the first few alone is on integers."""
    measured = []
    with progress.task("metric of suspects", total=min(_SUSPECTS, len(layers))) as advance:
        for layer in layers[:_SUSPECTS]:
            others = [other for other in layers if other.name != layer.name]
            alone = search.make(_except(model, plan, others, search.rules))
            measured.append(replace(layer, metric_drop=search.baseline - _measure(alone, search)))
            advance()
    return (*measured, *layers[_SUSPECTS:])


def _wider(
    model: onnx.ModelProto, plan: Plan, layers: Sequence[LayerNoise], search: Search
) -> tuple[Plan, onnx.ModelProto] | None:
    """Return the plan with 16 bits around the fewest of the worst layers, and its model; None if that is not enough."""
    drops: dict[int, float] = {}

    def holds(count: int) -> bool:
        if count not in drops:
            wider = widen_layers(model, plan, [layer.name for layer in layers[:count]], search.rules)
            drops[count] = search.baseline - _measure(search.make(wider), search)
            progress.note(f"{count} layers with 16-bit activations: the metric drops by {drops[count]:.4f}")
        return _is_allowed(drops[count], search)

    count = smallest_prefix(len(layers), holds)
    if count is None:
        return None
    wider = widen_layers(model, plan, [layer.name for layer in layers[:count]], search.rules)
    decision = Decision("exceptions", f"{count} layers with 16-bit activations", f"the metric drops by {drops[count]:.4f}")
    return replace(wider, decisions=(*wider.decisions, decision)), search.make(wider)


def _decided(plan: Plan, drop: float, count: int) -> Plan:
    decision = Decision("exceptions", f"{count} layers in floating point", f"the metric drops by {drop:.4f}")
    return replace(plan, decisions=(*plan.decisions, decision))


def _except(model: onnx.ModelProto, plan: Plan, layers: Sequence[LayerNoise], rules: Rules) -> Plan:
    """Place the integer nodes anew without these layers, since what flows between them changes too."""
    floating = {node.name for node in plan.nodes if node.precision == "float" and node.reason == "excluded"}
    names = floating | {layer.name for layer in layers}
    return replace(plan, nodes=place(model, names, rules))


def _is_allowed(drop: float, search: Search) -> bool:
    """Tell whether the metric may drop by so much (0.8 - 0.7 is a little more than 0.1)."""
    return drop <= search.max_drop + _DIGITS


def _measure(model: onnx.ModelProto, search: Search) -> float:
    with tempfile.TemporaryDirectory(prefix="edgeopt-") as folder:
        path = Path(folder) / "candidate.onnx"
        onnx_file.save(search.finished(model), path)
        return search.evaluate(path)
