"""`edgeopt recipes` and `edgeopt targets`: what there is to choose from."""

from __future__ import annotations

import json

import typer

from edgeopt.cli.options import Format


def recipes(form: Format = "table") -> None:
    """List the recipes that come with edgeopt."""
    from edgeopt.recipe import recipe_descriptions

    _show([{"recipe": name, "description": text} for name, text in recipe_descriptions().items()], form)


def targets(form: Format = "table") -> None:
    """List the targets, whether they can be measured from here, and why not."""
    from edgeopt.targets.availability import available
    from edgeopt.targets.target import load_target, target_names

    rows = []
    for name in target_names():
        target = load_target(name)
        here = available(target)
        rows.append(
            {
                "target": name,
                "here": "yes" if here.ok else "no",
                "description": target.description if here.ok else f"{target.description}; not here: {'; '.join(here.reasons)}",
            }
        )
    _show(rows, form)


def _show(rows: list[dict[str, str]], form: str) -> None:
    from edgeopt.cli.options import need_format

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
