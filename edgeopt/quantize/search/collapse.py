"""Outputs that collapse: the fewest of the worst layers stay in floating point that bring them back; no labels are needed."""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.search.prefix import smallest_prefix
from edgeopt.quantize.search.trials import Outcome, Trials, named


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
    layers = sensitivity(trials.floating(plan), quantized, plan, trials.samples, threads=1)
    best: dict[int, tuple[ir.Model, float]] = {}
    """The smallest count that held, alone: each candidate is as large as the model."""

    def holds(count: int) -> bool:
        candidate = trials.make(trials.without(plan, layers[:count], Cause.COLLAPSE))
        found = trials.exact.db(candidate)
        if found >= wanted_db and count < min(best, default=len(layers) + 1):
            best.clear()
            best[count] = candidate, found
        return found >= wanted_db

    count = smallest_prefix(len(layers), holds)
    if count is None:
        warning = f"the outputs collapse: {before:.1f} dB, and no number of floating layers brings them to {wanted_db:g} dB"
        return Outcome(plan, quantized, layers, warning)
    kept = trials.without(plan, layers[:count], Cause.COLLAPSE)
    floating, after = best[count]
    reason = (
        f"outputs of {before:.1f} dB would be a collapse (collapse_db); with {named(layers[:count])} floating they have "
        f"{after:.1f} dB"
    )
    return Outcome(kept.decided("exceptions", f"{count} layers in floating point", reason), floating, layers)
