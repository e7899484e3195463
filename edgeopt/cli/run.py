"""`edgeopt run`: run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Quiet, Set, Undecided

if TYPE_CHECKING:
    from edgeopt.pipeline import PlannedStage


def run(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe (see edgeopt recipes), or a .toml file.")],
    changes: Set = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; default: runs/RECIPE.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print which stages are cached, which will run, and why.")] = False,
    undecided: Undecided = "fail",
    quiet: Quiet = False,
) -> None:
    """Run a recipe: distil, prune, export, quantize, verify, profile, bundle.

    Finished stages are cached; a killed run resumes. The exit code is 1 if a budget is missed or undecided.
    """
    from edgeopt.cli.options import read_undecided
    from edgeopt.cli.progress_bars import shown
    from edgeopt.pipeline import Pipeline
    from edgeopt.recipe import load_recipe
    from edgeopt.train.launched import rank

    undecided_as = read_undecided(undecided)
    loaded = load_recipe(recipe, changes or [])
    pipeline = Pipeline(loaded, out or Path("runs") / loaded.name)
    if dry_run:
        _print_plan(pipeline.plan())
        return
    if rank():
        pipeline.follow()
        return
    with shown(quiet=quiet):
        result = pipeline.run()
    from edgeopt.cli.summary import finish

    finish(result.record(), result.folder, undecided_as)


def _print_plan(planned: list[PlannedStage]) -> None:
    from edgeopt.cli.tables import show

    show([{"stage": stage.name, "action": stage.action, "reason": stage.reason} for stage in planned], "table")
