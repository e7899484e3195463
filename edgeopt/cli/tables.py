"""Rows on stdout: as a table, as JSON, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

from edgeopt.cli.options import need_format


def show(rows: Sequence[dict[str, str]], form: str) -> None:
    """Print `rows`, all with the same keys, in the format `form`."""
    if need_format(form) == "json":
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif form == "markdown":
        names = list(rows[0])
        lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
        typer.echo("\n".join(f"| {' | '.join(line)} |" for line in lines))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*row.values())
        Console(highlight=False, markup=False).print(table)
