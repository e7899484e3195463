"""The verdict as JUnit XML, which every CI shows: one test case for each question that the verdict rests on.

A failed question is a failure; an undecided one is skipped, with its reason, since it is neither right nor wrong.
"""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from edgeopt.report.model import Finding, Report


def to_junit(report: Report) -> str:
    """Return the verdict of `report` as a JUnit test suite."""
    findings = report.verdict.findings
    counts = {state: sum(finding.state == state for finding in findings) for state in ("fail", "undecided")}
    name = _attribute(f"{report.name} on {report.target}")
    seconds = sum(stage.seconds for stage in report.stages)
    head = (
        f'tests="{len(findings)}" failures="{counts["fail"]}" errors="0" skipped="{counts["undecided"]}" time="{seconds:.3f}"'
    )
    cases = "".join(_case(finding, report) for finding in findings)
    suite = f"<testsuite name={name} {head}>\n{cases}</testsuite>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{suite}\n</testsuites>\n'


def _case(finding: Finding, report: Report) -> str:
    head = f"<testcase classname={_attribute(f'{report.name}.{finding.stage}')} name={_attribute(finding.text)}"
    if finding.state == "pass":
        return f"{head}/>\n"
    element = "failure" if finding.state == "fail" else "skipped"
    return f"{head}><{element} message={_attribute(finding.text)}>{escape(_printable(finding.text))}</{element}></testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(_printable(text))


def _printable(text: str) -> str:
    """Return `text` without what XML 1.0 forbids: control characters and lone surrogates."""
    return "".join(char if char.isprintable() else " " for char in text)
