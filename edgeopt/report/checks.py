"""Checks: what passed, failed or was undecided; the input of every format for continuous integration."""

from __future__ import annotations

from dataclasses import dataclass

from edgeopt.profile.result import ProfileResult
from edgeopt.report.model import Report
from edgeopt.verdict.changes import Regressions
from edgeopt.verdict.findings import State

_VERDICTS: dict[str, State] = {"regression": "fail", "undecided": "undecided", "same": "pass", "improvement": "pass"}


@dataclass(frozen=True)
class Check:
    """One check: passed, failed or undecided; `group` is its class in JUnit."""

    suite: str
    name: str
    verdict: State
    message: str
    group: str = ""


def checks_of_report(report: Report) -> list[Check]:
    """Return the findings of a run's verdict as checks."""
    suite = f"{report.name} on {report.target}"
    return [Check(suite, it.text, it.state, it.text, f"{report.name}.{it.stage}") for it in report.verdict.findings]


def checks_of_profile(result: ProfileResult) -> list[Check]:
    """Return the budgets of a profile as checks."""
    suite = f"edgeopt profile {result.target}"
    return [Check(suite, f"{it.variant}: {it.expression}", it.verdict, it.reason) for it in result.budgets]


def checks_of_regressions(found: Regressions) -> list[Check]:
    """Return the figures of a comparison as checks."""
    return [Check("edgeopt compare", f"{it.variant}: {it.metric}", _VERDICTS[it.finding], it.reason) for it in found.changes]
