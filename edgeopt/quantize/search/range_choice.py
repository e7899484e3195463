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

import numpy as np

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.quantize.output_parts import Noises, decibels
from edgeopt.quantize.plan.plan import Plan

Way = Literal["auto", "min-max", "percentile", "mse"]
WAYS: tuple[Way, ...] = ("auto", "min-max", "percentile", "mse")
CLEARLY_DB = 0.25
_SURE = 1.0  # standard errors


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

    def by(self, judge: Callable[[Plan], Noises]) -> Plan:
        """Return the plan whose ranges are chosen in the best way; `judge` returns the outputs' noise, [batches, parts]."""
        found = figures(self.plans, judge)
        way = best(found)
        return self.final(way).decided("ranges chosen", way, told(found, self.batches, aside=self.aside))

    @property
    def in_ranges_alone(self) -> bool:
        """Whether the plans differ in nothing else."""
        first, *others = [plan.on_integers for plan in self.plans.values()]
        return not any(plan.smoothing for plan in self.plans.values()) and all(other == first for other in others)


def figures(plans: Mapping[Way, Plan], judge: Callable[[Plan], Noises]) -> dict[Way, Noises]:
    """Return the outputs' noise under each plan, [batches, parts]; plans with equal ranges are judged once."""
    known: dict[object, Noises] = {}
    found: dict[Way, Noises] = {}
    with progress.task("compare ranges", total=len(plans)) as advance:
        for way, plan in plans.items():
            key = (tuple((tensor.name, tensor.low, tensor.high) for tensor in plan.tensors), plan.smoothing, plan.nodes)
            if key not in known:
                known[key] = judge(plan)
            found[way] = known[key]
            advance()
    return found


def best(found: Mapping[Way, Noises]) -> Way:
    """Return the way of most dB; `auto` unless another is clearly better, and not by one or two batches alone.

    The batches are compared in pairs: on average a batch must lose more noise than the standard error of what they lose.
    """
    db = {way: decibels(noise.sum(axis=0)) for way, noise in found.items()}
    clearly = [way for way in db if db[way] > db["auto"] + CLEARLY_DB]
    return max((way for way in clearly if _less(found[way], found["auto"])), key=lambda way: db[way], default="auto")


def _less(noise: Noises, than: Noises) -> bool:
    """Return whether the noise is less at the part where `than` is most, by more than chance; both: [batches, parts]."""
    part = int(than.sum(axis=0).argmax())
    lost = than[:, part] - noise[:, part]
    return len(lost) < 2 or bool(lost.mean() > _SURE * lost.std(ddof=1) / np.sqrt(len(lost)))


def told(found: Mapping[Way, Noises], samples: Sequence[object], *, aside: int) -> str:
    """Return the figures as a reason."""
    parts = ", ".join(f"{way} {decibels(noise.sum(axis=0)):.1f}" for way, noise in found.items())
    seen = len(samples) - aside
    kinds = [f"{aside} samples held aside"] * (aside > 0) + [f"{seen} calibration samples"] * (seen > 0)
    return f"dB of the outputs on {' and '.join(kinds)}: {parts}"
