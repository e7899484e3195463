"""`edgeopt search`: find the best models of a recipe under budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Format, Quiet, Set
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    from edgeopt.search.front import Front


def search(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe (see edgeopt recipes), or a .toml file.")],
    budget: Annotated[
        list[str] | None, typer.Option("--budget", help="What to keep, such as p95_ms<=5 or size_mb<=10; may be repeated.")
    ] = None,
    time: Annotated[str, typer.Option("--time", help="How long: 90s, 20m, 2h.")] = "1h",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the search; default: searches/RECIPE.")] = None,
    workers: Annotated[int, typer.Option("--workers", help="Candidates at once on this machine, 1 or more.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option("--storage", help="Database that searches on several machines share: postgresql://…, redis://…."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option("--ray", help="Address of a Ray cluster whose machines share the folder; auto: the one here.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Target; several: one model for all of them.")
    ] = None,
    changes: Set = None,
    form: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Search depth, width, pruning and schemes of a recipe for the best models within the budgets.

    Writes front.json and front.html; every point has a recipe and a bundle. Run again, it resumes. The exit code
    is 1 if no candidate keeps the budgets.
    """
    from edgeopt.cli.options import need_format
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.tables import show
    from edgeopt.cli.training_inputs import seconds_of
    from edgeopt.recipe import load_recipe
    from edgeopt.search.front import FILE
    from edgeopt.search.search import SearchRequest
    from edgeopt.search.search import search as run

    need_format(form)
    loaded = load_recipe(recipe, changes or [])
    folder = out or Path("searches") / loaded.name
    seconds = seconds_of("--time", time)
    request = SearchRequest(loaded, folder, tuple(budget or ()), seconds, workers, storage, ray, tuple(target or ()))
    with shown(quiet=quiet):
        front = run(request)
    if form == "json":
        from dataclasses import asdict

        print_json(asdict(front))
    else:
        show(_rows(front), form)
    if front.advice:
        say(front.advice, err=True)
    say(f"front   {folder / FILE}", err=form != "table")
    raise typer.Exit(0 if front.feasible and front.points else 1)


def _rows(front: Front) -> list[dict[str, str]]:
    from edgeopt.units import milliseconds, size

    return [
        {
            "candidate": point.name,
            front.metric: f"{point.metric:.4f}",
            "p50": milliseconds(point.p50_ms),
            "p95": milliseconds(point.p95_ms),
            "size": size(point.size_bytes),
            "misses": "; ".join(point.missed) or "–",
            "recipe": point.recipe,
        }
        for point in front.points
    ]
