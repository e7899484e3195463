"""The report in a few lines for the terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeopt.report.model import Report
from edgeopt.report.table import COLUMNS, conditions_line, known_columns, variant_rows

_STYLES = {"pass": "bold green", "fail": "bold red", "undecided": "bold yellow"}
_MARKS = {"pass": "✓", "fail": "✗", "undecided": "?"}


def terminal_summary(report: Report, *, width: int = 120, colour: bool = False) -> str:
    """Return the verdict, its findings and the table of the model's forms as text; `colour` adds ANSI codes."""
    console = Console(
        file=StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None, highlight=False
    )
    with console.capture() as capture:
        style = _STYLES[report.verdict.state]
        console.print(Text.assemble((report.verdict.state.upper(), style), f"  {_plain(report.verdict.sentence)}"))
        for finding in report.verdict.findings:
            mark = (_MARKS[finding.state], _STYLES[finding.state])
            console.print(Text.assemble("  ", mark, f" {_plain(finding.text)}", (f"  {_plain(finding.stage)}", "dim")))
        if report.variants:
            console.print()
            console.print(_table(report))
            console.print(Text(_plain(conditions_line(report)), style="dim"))
        if report.warnings:
            console.print(Text(f"{len(report.warnings)} warnings, in the report", style="yellow"))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _table(report: Report) -> Table:
    """Build the table without parameters and p90, which the page has, and without the columns that nothing is known for."""
    known = [index for index in known_columns(report) if COLUMNS[index] not in {"parameters", "p90"}]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index in known:
        table.add_column(COLUMNS[index], justify="left" if index == 0 else "right", no_wrap=index > 0)
    for row in variant_rows(report):
        table.add_row(*(_cell(row[index]) for index in known))
    return table


def _cell(text: str) -> Text:
    """Put an interval under its figure."""
    figure, _, bounds = _plain(text).partition(" [")
    return Text.assemble(figure, (f"\n[{bounds}", "dim")) if bounds else Text(figure)


def _plain(text: str) -> str:
    """Return `text` without control characters: a name must not drive the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
