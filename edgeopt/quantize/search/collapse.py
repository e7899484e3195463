"""Outputs that collapse: what costs most stays in floating point, as little as brings them back; no labels are needed.

First the layers, worst first. Where no number of them helps, the noise comes from what lies between (an elementwise operator on
values that span many decades, say, on targets that round every tensor): then the nodes around the worst activations.

Which are the worst is looked at on a few samples, one run for each of them and sample; what each candidate has, on all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.graph.matching import by_name, name_of
from edgeopt.quantize.apply.gates import Gate, Gated
from edgeopt.quantize.inspect.sensitivity import gates_of_layers, sensitivity
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import LayerNoise
from edgeopt.quantize.search.prefix import smallest_prefix
from edgeopt.quantize.search.trials import Outcome, Trials, named

_LOOKED_AT = 2
"""Batches on which layers and activations are put in order."""


def avoid_collapse(plan: Plan, quantized: ir.Model, trials: Trials, *, wanted_db: float) -> Outcome:
    """Return the plan as it is if the outputs' SQNR on the samples is `wanted_db` or more, else one with exceptions.

    Args:
        plan: to start from.
        quantized: what `plan` makes of the model.
        trials: how to try a plan.
        wanted_db: below this, the outputs have collapsed.
    """
    before = trials.exact.db(quantized)
    if before >= wanted_db:
        return Outcome(plan, quantized)
    model, looked_at = trials.floating(plan), trials.samples[:_LOOKED_AT]
    every = [gate.name for gate in gates_of_layers(model, quantized, plan)]
    layers: tuple[LayerNoise, ...] = ()
    if trials.exact.db(trials.make(plan.without(every, Cause.COLLAPSE, basis=trials.basis))) >= wanted_db:
        layers = sensitivity(model, quantized, plan, looked_at, threads=trials.threads)
    found = _fewest(len(layers), lambda count: trials.without(plan, layers[:count], Cause.COLLAPSE), trials, wanted_db)
    if found is not None:
        count, floating, after = found
        kept = trials.without(plan, layers[:count], Cause.COLLAPSE)
        said, choice = named(layers[:count]), f"{count} layers in floating point"
        return Outcome(kept.decided("exceptions", choice, _reason(before, said, after)), floating, layers)
    order: list[frozenset[str]] = []
    try:
        order = _around(plan, model, looked_at, trials)
        found = _fewest(len(order), lambda count: _without(plan, order[:count], trials), trials, wanted_db)
    except ModelError:  # a switched tensor that a subgraph reads: onnxruntime does not load what would be tried
        found = None
    if found is None:
        warning = f"the outputs collapse: {before:.1f} dB, and no number of floating layers brings them to {wanted_db:g} dB"
        return Outcome(plan, quantized, layers, warning)
    count, floating, after = found
    kept = _without(plan, order[:count], trials)
    choice = f"{len(kept.floating.keys() - plan.floating.keys())} nodes in floating point"
    said = f"the nodes around {count} activations"
    return Outcome(kept.decided("exceptions", choice, _reason(before, said, after)), floating, layers)


def _fewest(
    most: int, candidate: Callable[[int], Plan], trials: Trials, wanted_db: float
) -> tuple[int, ir.Model, float] | None:
    """Return the smallest count whose plan keeps the outputs, with its model and decibels; None if none does."""
    best: dict[int, tuple[ir.Model, float]] = {}
    """The smallest count that held, alone: each candidate is as large as the model."""

    def holds(count: int) -> bool:
        if not count:
            return False  # (the outputs have collapsed)
        made = trials.make(candidate(count))
        found = trials.exact.db(made)
        if found >= wanted_db and count < min(best, default=most + 1):
            best.clear()
            best[count] = made, found
        return found >= wanted_db

    count = smallest_prefix(most, holds)
    return None if count is None else (count, *best[count])


def _around(plan: Plan, model: ir.Model, batches: Sequence[Batch], trials: Trials) -> list[frozenset[str]]:
    """Return, for each activation, the integer nodes that give or read it, the noisiest activation on `batches` first."""
    values, rounding = by_name(model.graph), {node.name: node.output != "float" for node in plan.integer_nodes}
    around, gates = {}, []
    for tensor in plan.tensors:
        if tensor.follows is None:
            value = values[tensor.name]
            producer = value.producer()
            giver = name_of(producer) if producer is not None else ""
            around[tensor.name] = frozenset({giver, *map(name_of, value.consumers())}).intersection(rounding)
            symmetric, output = plan.scheme.symmetric_activation, rounding.get(giver, False)
            gates.append(Gate(tensor.name, tensor, symmetric=symmetric, output=output))
    alone = Gated(model, gates, batches, threads=trials.threads).of_each()
    return [around[name] for name in sorted(alone, key=lambda name: (alone[name], name))]


def _without(plan: Plan, groups: list[frozenset[str]], trials: Trials) -> Plan:
    names = sorted(frozenset().union(*groups))
    return plan.without(names, Cause.COLLAPSE, basis=trials.basis) if names else plan


def _reason(before: float, said: str, after: float) -> str:
    return f"outputs of {before:.1f} dB would be a collapse (collapse_db); with {said} floating they have {after:.1f} dB"
