"""What commands print: results on stdout, remarks on stderr; names never drive the terminal (`edgeopt.escaping`)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from edgeopt.escaping import json_text, one_line

if TYPE_CHECKING:
    from rich.table import Table

_ENDLESS = 1_000_000


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line."""
    typer.echo(one_line(text), err=err)


def warn(text: str) -> None:
    """Print a warning on stderr."""
    say(f"warning: {text}", err=True)


def say_to_copy(what: str, command: str) -> None:
    """Print a part of a command line on a line of its own, where it can be copied whole."""
    say(f"{what}:")
    say(f"    {command}")


def print_json(values: Any) -> None:
    """Print values as JSON."""
    typer.echo(json_text(values))


def print_table(table: Table) -> None:
    """Print a table of rich; lines are broken on a terminal only: elsewhere tools read them, and no spaces end them."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, width=None if terminal else _ENDLESS)
    if terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
