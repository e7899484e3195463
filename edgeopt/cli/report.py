"""`edgeopt report`: the report of a run, made anew from its artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Quiet


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/quickstart.")],
    quiet: Quiet = False,
) -> None:
    """Write report.html, report.json and report.md of a finished run, and print the summary; runs nothing."""
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.summary import finish
    from edgeopt.errors import DataError
    from edgeopt.pipeline import Pipeline
    from edgeopt.recipe import load_recipe

    recipe = run / "recipe.toml"
    if not recipe.is_file():
        raise DataError(f"{run}: no run here (recipe.toml is missing); give a folder that edgeopt run wrote")
    with shown(quiet=quiet):
        result = Pipeline(load_recipe(str(recipe)), run).finished()
    finish(result)
