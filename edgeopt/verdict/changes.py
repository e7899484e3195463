"""Figures of the same thing at two times, and what became worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeopt.verdict.findings import State

Finding = Literal["regression", "improvement", "same", "undecided"]


@dataclass(frozen=True)
class Change:
    """One figure, then and now."""

    variant: str
    metric: str
    base: float | None
    new: float | None
    finding: Finding
    reason: str


@dataclass(frozen=True)
class Regressions:
    """All compared figures; `verdict` is `fail` if any became worse."""

    false_alarm_rate: float
    changes: list[Change]
    notes: list[str]
    verdict: State

    @classmethod
    def of(cls, false_alarm_rate: float, changes: Sequence[Change], notes: Sequence[str]) -> Regressions:
        """Return the changes with their verdict: the gravest of the findings."""
        findings = {change.finding for change in changes}
        verdict: State = "fail" if "regression" in findings else "undecided" if "undecided" in findings else "pass"
        return cls(false_alarm_rate, [*changes], [*notes], verdict)
