"""Which way of choosing ranges is best for this model: each is tried whole, and its outputs compared with the exact ones.

`auto` chooses tensor by tensor, by what is known of each alone. Whether that adds up is seen at the model's outputs only: on
some networks one method for all tensors loses less. So the ways are tried on samples that calibration was not shown, from the
same histograms, and `auto` gives way where another is clearly better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import onnx_ir as ir

from edgeopt import progress
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.search.trials import Outcome, Trials

Way = Literal["auto", "min-max", "percentile", "mse"]
WAYS: tuple[Way, ...] = ("auto", "min-max", "percentile", "mse")
CLEARLY_DB = 0.25
"""Less is within what a few samples tell."""


def figures(plans: Mapping[Way, Plan], make: Callable[[Plan], ir.Model], exact: ExactOutputs) -> dict[Way, float]:
    """Return the SQNR of the worst output under each plan, in dB; plans with equal ranges are carried out once."""
    known: dict[object, float] = {}
    found: dict[Way, float] = {}
    with progress.task("compare ranges", total=len(plans)) as advance:
        for way, plan in plans.items():
            key = (tuple((tensor.name, tensor.low, tensor.high) for tensor in plan.tensors), plan.smoothing, plan.nodes)
            if key not in known:
                known[key] = exact.db(make(plan))
            found[way] = known[key]
            advance()
    return found


def best(found: Mapping[Way, float]) -> Way:
    """Return the way of most dB; `auto` unless another is clearly better."""
    way = max(found, key=lambda way: found[way])
    return way if found[way] > found["auto"] + CLEARLY_DB else "auto"


def told(found: Mapping[Way, float], samples: Sequence[object], *, aside: bool) -> str:
    """Return the figures as a reason."""
    parts = ", ".join(f"{way} {db:.1f}" for way, db in found.items())
    return f"dB of the outputs on {len(samples)} {'samples held aside' if aside else 'calibration samples'}: {parts}"


def judged_again(outcome: Outcome, ranged: Callable[[Way], Plan], trials: Trials, exact: ExactOutputs) -> Outcome:
    """Return the outcome of a search for floating layers, or the same layers floating under clearly better ranges.

    Args:
        outcome: the layers that float, under ranges chosen while none did.
        ranged: plans the ranges in one way.
        trials: how to try a plan.
        exact: the outputs to compare with.
    """
    floating = sorted(name for name, why in outcome.plan.floating.items() if why.cause is Cause.BALANCE)
    plans = {way: ranged(way).without(floating, Cause.BALANCE, basis=trials.basis) for way in WAYS}
    found = figures(plans, trials.make, exact)
    way, kept = max(found, key=lambda way: found[way]), exact.db(outcome.quantized)
    if found[way] <= kept + CLEARLY_DB:
        return outcome
    reason = f"with {len(floating)} nodes floating, {told(found, exact.batches, aside=False)}"
    plan = plans[way].decided("ranges chosen", way, reason)
    known = set(plan.decisions)
    plan = replace(plan, decisions=(*plan.decisions, *(item for item in outcome.plan.decisions if item not in known)))
    return Outcome(plan, trials.make(plan), outcome.sensitivity, outcome.warning)
