"""The report in a few lines for the terminal."""

from __future__ import annotations

from io import StringIO
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeopt.escaping import one_line
from edgeopt.report.model import Report
from edgeopt.report.table import (
    GENERATION_COLUMNS,
    columns,
    conditions_line,
    generation_line,
    generation_rows,
    known_columns,
    variant_rows,
)

_STYLES = {"pass": "bold green", "fail": "bold red", "undecided": "bold yellow"}
_ENDLESS = 1_000_000
_MARKS = {"pass": "✓", "fail": "✗", "undecided": "?"}


def terminal_summary(report: Report, *, width: int | None = 120, colour: bool = False) -> str:
    """Return the verdict, its findings and the table of the model's forms as text.

    Args:
        report: what is told.
        width: where lines are broken; None: nowhere, for a log or a pipe.
        colour: add ANSI codes.
    """
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(
        file=StringIO(), width=width or _ENDLESS, force_terminal=colour, color_system=system, highlight=False, emoji=False
    )
    with console.capture() as capture:
        style = _STYLES[report.verdict.state]
        console.print(Text.assemble((report.verdict.state.upper(), style), f"  {one_line(report.verdict.sentence)}"))
        for finding in report.verdict.findings:
            mark = (_MARKS[finding.state], _STYLES[finding.state])
            console.print(Text.assemble("  ", mark, f" {one_line(finding.text)}", (f"  {one_line(finding.stage)}", "dim")))
        if report.variants:
            console.print()
            console.print(_table(report))
            console.print(Text(one_line(conditions_line(report)), style="dim"))
        if report.generations:
            console.print()
            console.print(_generations(report))
            console.print(Text(one_line(generation_line(report)), style="dim"))
        if report.warnings:
            console.print(Text(f"warnings: {len(report.warnings)}, see the report", style="yellow"))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _table(report: Report) -> Table:
    """Build the table without parameters and p90, which the HTML has, and without empty columns."""
    known = [index for index in known_columns(report) if columns(report)[index] not in {"parameters", "p90"}]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index in known:
        justify: Literal["left", "right"] = "left" if index == 0 else "right"
        table.add_column(Text(one_line(columns(report)[index])), justify=justify, overflow="fold", no_wrap=index > 0)
    for row in variant_rows(report):
        table.add_row(*(_cell(row[index]) for index in known))
    return table


def _generations(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(GENERATION_COLUMNS):
        table.add_column(Text(name), justify="right" if index else "left")
    for row in generation_rows(report):
        table.add_row(*map(one_line, row))
    return table


def _cell(text: str) -> Text:
    """Put an interval under its figure."""
    figure, _, bounds = one_line(text).partition(" [")
    return Text.assemble(figure, (f"\n[{bounds}", "dim")) if bounds else Text(figure)
