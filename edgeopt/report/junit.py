"""Verdicts as JUnit XML, which every CI shows: one test case per check.

A failed check is a failure; an undecided one is skipped, with its reason, since it is neither right nor wrong.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from edgeopt.escaping import xml_text
from edgeopt.report.checks import Check, checks_of_report
from edgeopt.report.model import Report

_ELEMENTS = {"fail": "failure", "undecided": "skipped"}


def to_junit(report: Report) -> str:
    """Return the verdict of `report` as a JUnit test suite."""
    return junit(checks_of_report(report), seconds=sum(stage.seconds for stage in report.stages))


def junit(checks: Sequence[Check], *, seconds: float | None = None) -> str:
    """Return `checks` as JUnit XML, a test suite for each of their suites; `seconds` is what all of it took."""
    root = ET.Element("testsuites")
    for suite in dict.fromkeys(check.suite for check in checks):
        own = [check for check in checks if check.suite == suite]
        counts = {"tests": len(own), "failures": _count(own, "fail"), "skipped": _count(own, "undecided"), "errors": 0}
        facts = {key: str(count) for key, count in counts.items()} | ({} if seconds is None else {"time": f"{seconds:.3f}"})
        element = ET.SubElement(root, "testsuite", {"name": xml_text(suite), **facts})
        for check in own:
            _add_case(element, check)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ET.Element, check: Check) -> None:
    case = ET.SubElement(suite, "testcase", classname=xml_text(check.group or check.suite), name=xml_text(check.name))
    if check.verdict in _ELEMENTS:
        message = xml_text(check.message)
        ET.SubElement(case, _ELEMENTS[check.verdict], message=message).text = message


def _count(checks: Sequence[Check], verdict: str) -> int:
    return sum(check.verdict == verdict for check in checks)
