"""Verdicts for continuous integration: JUnit XML, and the annotations GitHub shows beside a change."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from edgeopt.profile.regression import Regressions
from edgeopt.profile.result import ProfileResult
from edgeopt.verdict.budget import Verdict

_VERDICTS: dict[str, Verdict] = {"regression": "fail", "undecided": "undecided", "same": "pass", "improvement": "pass"}


@dataclass(frozen=True)
class Check:
    """One thing that passed, failed or could not be decided."""

    suite: str
    name: str
    verdict: Verdict
    message: str


def checks_of_profile(result: ProfileResult) -> list[Check]:
    """Return the budgets of a profile as checks."""
    suite = f"edgeopt profile {result.target}"
    return [Check(suite, f"{it.variant}: {it.expression}", it.verdict, it.reason) for it in result.budgets]


def checks_of_regressions(found: Regressions) -> list[Check]:
    """Return the figures of a comparison as checks."""
    return [Check("edgeopt compare", f"{it.variant}: {it.metric}", _VERDICTS[it.finding], it.reason) for it in found.changes]


def junit(checks: Sequence[Check]) -> str:
    """Return the checks as JUnit XML; what is undecided counts as skipped, with its reason."""
    root = ET.Element("testsuites")
    for suite in dict.fromkeys(check.suite for check in checks):
        own = [check for check in checks if check.suite == suite]
        counts = {"tests": len(own), "failures": _count(own, "fail"), "skipped": _count(own, "undecided"), "errors": 0}
        element = ET.SubElement(root, "testsuite", {"name": suite, **{key: str(count) for key, count in counts.items()}})
        for check in own:
            case = ET.SubElement(element, "testcase", classname=suite, name=check.name)
            if check.verdict != "pass":
                ET.SubElement(case, "failure" if check.verdict == "fail" else "skipped", message=check.message)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _count(checks: Sequence[Check], verdict: Verdict) -> int:
    return sum(check.verdict == verdict for check in checks)


def github_annotations(checks: Sequence[Check]) -> list[str]:
    """Return one workflow command a line: an error for what fails, a warning for what is undecided."""
    levels = {"fail": "error", "undecided": "warning"}
    return [
        f"::{levels[check.verdict]} title={_property(f'{check.suite}: {check.name}')}::{_data(check.message)}"
        for check in checks
        if check.verdict in levels
    ]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
