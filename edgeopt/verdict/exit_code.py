"""What a verdict means for a script: the exit code, and what an undecided budget counts as."""

from __future__ import annotations

from collections.abc import Iterable, Set
from enum import StrEnum

from edgeopt.verdict.findings import Finding, Judgement

FAILED = 1


class Undecided(StrEnum):
    """What a budget that was asked for counts as where it could not be decided."""

    PASS = "pass"
    FAIL = "fail"


def exit_code_of_run(findings: Iterable[Finding], undecided: Undecided) -> int:
    """Return 1 if a finding fails, or if one that was asked for is undecided and that counts as a failure; else 0."""
    counted = {finding.state for finding in findings if finding.state == "fail" or finding.asked}
    return _code(counted, undecided)


def exit_code_of_budgets(judgements: Iterable[Judgement], undecided: Undecided) -> int:
    """Return 1 if a budget is missed, or if one is undecided and that counts as a failure; else 0."""
    return _code({judgement.verdict for judgement in judgements}, undecided)


def _code(states: Set[str], undecided: Undecided) -> int:
    return FAILED if "fail" in states or ("undecided" in states and undecided is Undecided.FAIL) else 0
