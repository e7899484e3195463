"""End of a run: write the report, print the summary, exit with the verdict's code."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeopt.cli.output import say

if TYPE_CHECKING:
    from edgeopt.report import RunRecord
    from edgeopt.verdict.exit_code import Undecided

UNDECIDED_FAILS = "a budget is undecided, which counts as missed (exit code 1); --undecided pass lets it through"


def finish(record: RunRecord, folder: Path, undecided: Undecided) -> None:
    """Write the report of the run in `folder`, print the summary and exit: 1 if the verdict is a failure."""
    from edgeopt.report import build_report, terminal_summary, write_report
    from edgeopt.verdict.exit_code import exit_code_of_run

    report = build_report(record)
    page, *_ = write_report(report, folder)
    terminal = sys.stdout.isatty()
    width = min(140, shutil.get_terminal_size((120, 40)).columns) if terminal else None
    typer.echo(terminal_summary(report, width=width, colour=terminal))
    say(f"report  {page}")
    say(f"bundle  {folder / 'bundle'}")
    code = exit_code_of_run(report.verdict.findings, undecided)
    if code and report.verdict.state != "fail":
        say(UNDECIDED_FAILS, err=True)
    raise typer.Exit(code)
