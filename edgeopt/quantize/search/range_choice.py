"""Which way of choosing ranges is best for this model: all activations are rounded so, and the outputs compared with the exact.

`auto` chooses tensor by tensor, by what is known of each alone. Whether that adds up is seen at the model's outputs only: on
some networks one method for all tensors loses less. So the ways are tried on samples that calibration was not shown, from the
same histograms, and `auto` gives way where another is clearly better. Where the ways differ in ranges alone, one session judges
them all (`simulation.py`); else each is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.quantize.plan.plan import Plan

Way = Literal["auto", "min-max", "percentile", "mse"]
WAYS: tuple[Way, ...] = ("auto", "min-max", "percentile", "mse")
CLEARLY_DB = 0.25
"""Less is within what a few samples tell."""


@dataclass(frozen=True)
class Choice:
    """Ranges that are still to be chosen, in one of several ways."""

    plans: Mapping[Way, Plan]
    """From all samples but `batches`, where these were held aside."""
    batches: Sequence[Batch]
    """What the ways are judged on."""
    aside: int
    """How many of these, the first ones, calibration was not shown."""
    final: Callable[[Way], Plan]
    """Plans the ranges from all samples."""

    def by(self, judge: Callable[[Plan], float]) -> Plan:
        """Return the plan whose ranges are chosen in the best way; `judge` returns the SQNR of the worst output in dB."""
        found = figures(self.plans, judge)
        way = best(found)
        return self.final(way).decided("ranges chosen", way, told(found, self.batches, aside=self.aside))

    @property
    def in_ranges_alone(self) -> bool:
        """Whether the plans differ in nothing else."""
        first, *others = [plan.on_integers for plan in self.plans.values()]
        return not any(plan.smoothing for plan in self.plans.values()) and all(other == first for other in others)


def figures(plans: Mapping[Way, Plan], judge: Callable[[Plan], float]) -> dict[Way, float]:
    """Return the SQNR of the worst output under each plan, in dB; plans with equal ranges are judged once."""
    known: dict[object, float] = {}
    found: dict[Way, float] = {}
    with progress.task("compare ranges", total=len(plans)) as advance:
        for way, plan in plans.items():
            key = (tuple((tensor.name, tensor.low, tensor.high) for tensor in plan.tensors), plan.smoothing, plan.nodes)
            if key not in known:
                known[key] = judge(plan)
            found[way] = known[key]
            advance()
    return found


def best(found: Mapping[Way, float]) -> Way:
    """Return the way of most dB; `auto` unless another is clearly better."""
    way = max(found, key=lambda way: found[way])
    return way if found[way] > found["auto"] + CLEARLY_DB else "auto"


def told(found: Mapping[Way, float], samples: Sequence[object], *, aside: int) -> str:
    """Return the figures as a reason."""
    parts = ", ".join(f"{way} {db:.1f}" for way, db in found.items())
    seen = len(samples) - aside
    kinds = [f"{aside} samples held aside"] * (aside > 0) + [f"{seen} calibration samples"] * (seen > 0)
    return f"dB of the outputs on {' and '.join(kinds)}: {parts}"
