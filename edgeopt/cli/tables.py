"""Rows on stdout: as a table, as JSON, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from edgeopt.cli.options import need_format
from edgeopt.cli.output import print_json, print_table
from edgeopt.escaping import markdown_table, one_line


def show(rows: Sequence[dict[str, str]], form: str, *, figures: bool = False) -> None:
    """Print `rows` in the format `form`; what a row lacks is "–"; names are never cut, so that they can be copied.

    Args:
        rows: no rows print nothing but "[]" as JSON.
        form: table, json or markdown.
        figures: all columns but the first hold figures, which stand to the right.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, "–") for name in columns] for row in rows]
    if need_format(form) == "json":
        print_json(rows)
    elif rows and form == "markdown":
        typer.echo("\n".join(markdown_table(columns, cells)))
    elif rows:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None)
        for place, name in enumerate(columns):
            table.add_column(name, overflow="fold", justify="right" if figures and place else "left")
        for row in cells:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        print_table(table)
