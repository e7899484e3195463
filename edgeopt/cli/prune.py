"""`edgeopt prune`: remove what matters least of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Builder, Quiet, Set
from edgeopt.cli.output import say, warn

if TYPE_CHECKING:
    from edgeopt.prune.result import PruneResult


def prune(
    model: Annotated[str, typer.Argument(help="The model: a saved or transformers folder, a hub id, or module:callable.")],
    train: Annotated[str | None, typer.Option("--train", "--data", help="Training samples: a file, a folder or a set.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the pruned model.")] = None,
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", help="Labelled samples to measure what is lost; --vocabulary keeps their words.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Teacher of the recovery; default: the model itself.")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", "-t", help="Target that latency is measured on, and whose channel step is used.")
    ] = "host",
    latency: Annotated[
        str | None, typer.Option("--latency", metavar="0.5x|5ms", help="Longest latency on the target, or share of it.")
    ] = None,
    macs: Annotated[
        str | None, typer.Option("--macs", metavar="0.5x", help="Share of the multiply-accumulates to keep.")
    ] = None,
    parameters: Annotated[
        str | None, typer.Option("--parameters", metavar="0.5x", help="Share of the parameters to keep.")
    ] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="20m", help="Longest time of the recovery.")] = None,
    builder: Builder = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Prune: remove heads, neurons, layers or channels within a budget, then recover. A killed run resumes.

    Options: --set train.epochs=5, --set importance=taylor (see the reference of recipes, [prune]).
    """
    from edgeopt.cli.options import read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.pruning import Pruning, seconds_of, share_of
    from edgeopt.errors import RecipeError
    from edgeopt.prune.config import PruneOptions

    if train is None or output is None:
        raise RecipeError("prune needs training samples and an output folder: --train DATA -o FOLDER")
    given = {
        "macs": share_of("--macs", macs),
        "parameters": share_of("--parameters", parameters),
        "latency": latency,
    }
    options = read_options(PruneOptions, changes, **given)
    run = Pruning(model, train, target, evaluate, teacher, builder, seed)
    with shown(quiet=quiet):
        result = run(output, options, seconds=seconds_of("--time", time))
    for name, reason in result.spared.items():
        warn(f"layer '{name}' stays whole: {reason}")
    _show(result, output)


def _show(result: PruneResult, output: Path) -> None:
    before, after = result.before, result.after
    say(f"{output}: {after.macs:,} multiply-accumulates of {before.macs:,}, {after.parameters:,} parameters")
