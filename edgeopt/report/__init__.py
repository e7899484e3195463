"""Report: the results of a run, verdict first, as HTML, JSON, Markdown and on the terminal.

    report = build_report(RunRecord(name="quickstart", recipe={…}, target="x86-vnni", stages=(StageRecord(…), …)))
    write_report(report, Path("runs/quickstart"))          # report.html, report.json, report.md
    print(terminal_summary(report))

Building gathers and decides; formatters only format. A new format is one pure function of a `Report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.report.build import build_report
    from edgeopt.report.html import to_html
    from edgeopt.report.json import from_json, to_json
    from edgeopt.report.junit import to_junit
    from edgeopt.report.markdown import to_markdown
    from edgeopt.report.model import Report
    from edgeopt.report.record import RunRecord, StageRecord
    from edgeopt.report.terminal import terminal_summary
    from edgeopt.report.write import write_report

__all__ = [
    "Report",
    "RunRecord",
    "StageRecord",
    "build_report",
    "from_json",
    "terminal_summary",
    "to_html",
    "to_json",
    "to_junit",
    "to_markdown",
    "write_report",
]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "Report": "model",
            "RunRecord": "record",
            "StageRecord": "record",
            "build_report": "build",
            "from_json": "json",
            "terminal_summary": "terminal",
            "to_html": "html",
            "to_json": "json",
            "to_junit": "junit",
            "to_markdown": "markdown",
            "write_report": "write",
        },
    )
