"""What a finished run shows: the report's files, a summary on stdout, and the exit code of its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgeopt.pipeline import RunResult


def finish(result: RunResult) -> None:
    """Write the report, print the summary and exit: 1 if the verdict is a failure."""
    from rich.console import Console

    from edgeopt.report import build_report, terminal_summary, write_report

    report = build_report(result.record())
    write_report(report, result.folder)
    Console(highlight=False).print(terminal_summary(report))
    typer.echo(f"report  {result.folder / 'report.html'}\nbundle  {result.bundle}")
    if report.verdict == "fail":
        raise typer.Exit(1)
