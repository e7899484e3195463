"""The report as Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt import units
from edgeopt.escaping import markdown, markdown_table
from edgeopt.report.limits import WORTH_COLUMNS, worth_rows
from edgeopt.report.model import Report
from edgeopt.report.table import (
    EXECUTION_COLUMNS,
    GENERATION_COLUMNS,
    columns,
    conditions_line,
    device_rows,
    execution_rows,
    generation_line,
    generation_rows,
    table_title,
    variant_rows,
)

_MARKS = {"pass": "✅ pass", "fail": "❌ fail", "undecided": "❔ undecided"}


def to_markdown(report: Report) -> str:
    """Return `report` as GitHub-flavoured Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {markdown(report.name)} on {markdown(report.target)}: {_MARKS[report.verdict.state]}"
    yield ""
    yield f"**{markdown(report.verdict.sentence)}**"
    yield ""
    yield from (
        f"- {_MARKS[finding.state]}: {markdown(finding.text)} ({markdown(finding.stage)})"
        for finding in report.verdict.findings
    )
    rows = variant_rows(report)
    if rows:
        yield from ("", f"## {table_title(report)}\n\n{markdown(conditions_line(report))}", "")
        yield from markdown_table(columns(report), rows)
    if report.generations:
        yield from ("", f"## Generation\n\n{markdown(generation_line(report))}", "")
        yield from markdown_table(GENERATION_COLUMNS, generation_rows(report))
    if report.executions:
        yield from ("", "## What ran", "")
        yield from markdown_table(EXECUTION_COLUMNS, execution_rows(report))
    if worth := worth_rows(report):
        yield from ("", "## Worth a change", "")
        yield from markdown_table(WORTH_COLUMNS, worth)
    yield from ("", "## Stages", "")
    stages = [(stage.stage, stage.status, units.seconds(stage.seconds), stage.summary) for stage in report.stages]
    yield from markdown_table(("stage", "", "time", "what it did"), stages)
    if report.warnings or report.islands:
        yield from ("", "## Warnings", "")
        yield from (f"- {markdown(warning.stage)}: {markdown(warning.text)}" for warning in report.warnings)
        yield from (
            f"- {markdown(item.node)} ({markdown(item.op)}) runs in floating point: {markdown(item.reason)}"
            for item in report.islands
        )
    if report.decisions:
        yield from ("", "## Decisions", "")
        rows_ = [(decision.stage, decision.what, decision.choice, decision.reason) for decision in report.decisions]
        yield from markdown_table(("stage", "what", "choice", "reason"), rows_)
    yield from ("", "## Conditions", "")
    yield from markdown_table(("", ""), [*device_rows(report), *sorted(report.conditions.versions.items())])
    if report.bundle_sha256:
        yield from ("", f"Bundle: SHA-256 {markdown(report.bundle_sha256)}")
