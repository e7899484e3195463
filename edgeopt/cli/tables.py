"""Rows on stdout: as a table, as JSON, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from edgeopt.cli.options import need_format
from edgeopt.cli.output import print_json, print_table
from edgeopt.escaping import markdown_table, one_line


def show(rows: Sequence[dict[str, str]], form: str, *, figures: bool = False) -> None:
    """Print `rows`, all with the same keys, in the format `form`; names are never cut, so that they can be copied.

    Args:
        rows: no rows print nothing but "[]" as JSON.
        form: table, json or markdown.
        figures: all columns but the first hold figures, which stand to the right.
    """
    if need_format(form) == "json":
        print_json(rows)
    elif rows and form == "markdown":
        typer.echo("\n".join(markdown_table(list(rows[0]), [list(row.values()) for row in rows])))
    elif rows:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None)
        for place, name in enumerate(rows[0]):
            table.add_column(name, overflow="fold", justify="right" if figures and place else "left")
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row.values()))
        print_table(table)
