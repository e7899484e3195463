"""The report as Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeopt.report import units
from edgeopt.report.limits import WORTH_COLUMNS, worth_rows
from edgeopt.report.model import Report
from edgeopt.report.table import (
    COLUMNS,
    EXECUTION_COLUMNS,
    conditions_line,
    device_rows,
    execution_rows,
    table_title,
    variant_rows,
)

_MARKS = {"pass": "✅ pass", "fail": "❌ fail", "undecided": "❔ undecided"}


def to_markdown(report: Report) -> str:
    """Return `report` as GitHub-flavoured Markdown."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {escape(report.name)} on {escape(report.target)}: {_MARKS[report.verdict.state]}"
    yield ""
    yield f"**{escape(report.verdict.sentence)}**"
    yield ""
    yield from (
        f"- {_MARKS[finding.state]}: {escape(finding.text)} ({escape(finding.stage)})" for finding in report.verdict.findings
    )
    rows = variant_rows(report)
    if rows:
        yield from ("", f"## {table_title(report)}\n\n{escape(conditions_line(report))}", "")
        yield from _table(COLUMNS, rows)
    if report.executions:
        yield from ("", "## What ran, and what the machine could do", "")
        yield from _table(EXECUTION_COLUMNS, execution_rows(report))
    if worth := worth_rows(report):
        yield from ("", "## Worth a change", "")
        yield from _table(WORTH_COLUMNS, worth)
    yield from ("", "## Stages", "")
    stages = [(stage.stage, stage.status, units.seconds(stage.seconds), stage.summary) for stage in report.stages]
    yield from _table(("stage", "", "time", "what it did"), stages)
    if report.warnings or report.islands:
        yield from ("", "## Not as hoped", "")
        yield from (f"- {escape(warning.stage)}: {escape(warning.text)}" for warning in report.warnings)
        yield from (
            f"- {escape(item.node)} ({escape(item.op)}) runs in floating point: {escape(item.reason)}"
            for item in report.islands
        )
    if report.decisions:
        yield from ("", "## Decisions", "")
        rows_ = [(decision.stage, decision.what, decision.choice, decision.reason) for decision in report.decisions]
        yield from _table(("stage", "what", "choice", "reason"), rows_)
    yield from ("", "## Conditions", "")
    yield from _table(("", ""), [*device_rows(report), *sorted(report.conditions.versions.items())])
    if report.bundle_sha256:
        yield from ("", f"Bundle: SHA-256 {escape(report.bundle_sha256)}")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows)


def escape(text: str) -> str:
    """Return `text` on one line with what Markdown and HTML would read as markup escaped: names are a stranger's."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    marked = "".join(f"\\{char}" if char in "\\`*_{}[]#|!~" else char for char in line)
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
