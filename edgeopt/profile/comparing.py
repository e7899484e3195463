"""Comparison of variants with the baseline: by wall clock or processor time, once at the end or until decided.

Asking again and again whether two variants differ would find a difference sooner or later. So the question is asked each time
the runs have doubled, and look number k spends error/(k(k+1)) of the error allowed, the last look included; all looks together
stay within it (the union bound, as for budgets).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from edgeopt.profile import analysis
from edgeopt.profile.analysis import Counted
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.measurement import Sampled
from edgeopt.profile.result import Comparison, MachineLoad

FEWEST_ROUNDS = 30  # enough for the interval of a ratio


@dataclass
class Comparer:
    """Compares every variant with the first one; `on_one_thread`: all work is in the calling thread, so its time is usable."""

    names: Sequence[str]
    config: ProfileConfig
    on_one_thread: bool
    looks: int = 0
    settled: tuple[list[Comparison], float] | None = None
    """Result of the look that decided everything; it stays."""

    def leave_out(self, failed: Container[str]) -> None:
        """Compare nothing with variants that do not run; without the baseline there is nothing to compare with."""
        self.names = [] if self.names[0] in failed else [name for name in self.names if name not in failed]

    @property
    def asked(self) -> bool:
        """Return whether sampling continues until the comparisons are decided."""
        return self.config.stop_when_compared and len(self.names) > 1

    def compare(self, counted: Counted, conditions: MachineLoad) -> tuple[list[Comparison], float]:
        """Return the comparisons, and how far from 1 a ratio had to be to count; what was decided before stays."""
        if self.settled is not None:
            return self.settled
        self.looks += 1
        error = 1 - self.config.confidence
        sure = 1 - error / (self.looks * (self.looks + 1)) if self.asked else self.config.confidence
        by_cpu = conditions.busy and self.on_one_thread and bool(counted.cpu_rounds)
        margin = self.config.margin
        if conditions.busy and not by_cpu:
            margin = max(margin, self.config.busy_margin)
        pairs = [(self.names[0], name) for name in self.names[1:]]
        return [analysis.compare(counted, a, b, confidence=sure, margin=margin, by_cpu=by_cpu) for a, b in pairs], margin

    def decided(self, sampled: Sampled) -> bool:
        """Judge each time the runs have doubled; return whether every comparison is decided."""
        enough = sampled.runs >= self.config.min_runs * 2**self.looks and sampled.rounds >= FEWEST_ROUNDS
        if self.settled is None and enough:
            counted = analysis.count(sampled)
            found, margin = self.compare(counted, analysis.conditions(sampled.chunks, counted))
            if all(pair.decision != "undecided" for pair in found):
                self.settled = found, margin
        return self.settled is not None
