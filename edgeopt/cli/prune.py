"""`edgeopt prune`: remove what matters least of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Builder, Quiet, Set
from edgeopt.cli.output import say, warn

if TYPE_CHECKING:
    from edgeopt.cli.prune_run import Pruning
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.result import PruneResult


def prune(
    model: Annotated[str, typer.Argument(help="The model: a saved or transformers folder, a hub id, or module:callable.")],
    train: Annotated[str | None, typer.Option("--train", "--data", help="Training samples: a file, a folder or a set.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the pruned model.")] = None,
    evaluate: Annotated[str | None, typer.Option("--evaluate", help="Labelled samples to measure what is lost.")] = None,
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
    levels: Annotated[
        str | None, typer.Option("--levels", metavar="10,30,50", help="Remove each of these percentages; needs --report.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="What --levels are percentages of: macs, parameters or latency.")] = "macs",
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="With --levels: also how much each layer alone bears.")
    ] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Folder of the levels' models and report.html.")] = None,
    builder: Builder = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Prune: remove heads, neurons, layers or channels within a budget, then recover. A killed run resumes.

    Options: --set train.epochs=5, --set importance=taylor (docs/how-to/prune.md).
    """
    from edgeopt.cli.options import read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.prune_run import Pruning, share_of
    from edgeopt.cli.training_inputs import seconds_of
    from edgeopt.errors import RecipeError
    from edgeopt.prune.config import PruneOptions

    if train is None:
        raise RecipeError("prune needs training samples: --train DATA")
    given = {"macs": share_of("--macs", macs), "parameters": share_of("--parameters", parameters), "latency": latency}
    options = read_options(PruneOptions, changes, **given)
    run = Pruning(model, train, target, evaluate, teacher, builder, seed)
    seconds = seconds_of("--time", time)
    if levels is not None:
        from edgeopt.cli.prune_levels import prune_levels, read_levels

        if report is None or output is not None or any(value is not None for value in given.values()):
            raise RecipeError(
                "--levels prunes to several budgets: give --report FOLDER, and no -o, --macs, --parameters, --latency"
            )
        with shown(quiet=quiet):
            prune_levels(run, read_levels(levels), options, report, by=by, seconds=seconds, sensitivity=sensitivity)
        return
    if output is None:
        raise RecipeError("prune needs a folder for the pruned model: -o FOLDER (or --levels 10,30,50 --report FOLDER)")
    with shown(quiet=quiet):
        result = run(output, options, seconds=seconds)
        for name, reason in result.spared.items():
            warn(f"layer '{name}' stays whole: {reason}")
        _show(result, run, options)


def _show(result: PruneResult, run: Pruning, options: PruneOptions) -> None:
    from edgeopt.cli.prune_run import accuracy_lines

    before, after, found = result.before, result.after, result.allocation
    say(
        f"{result.path}: {after.macs:,} multiply-accumulates of {before.macs:,}, {after.parameters:,} parameters of "
        f"{before.parameters:,}; {'a transformers folder' if result.uniform else 'model.json with the kept indices'}"
    )
    for stack, gone in result.dropped.items():
        say(f"removed layers of {stack}: {', '.join(map(str, gone))}")
    if found is not None and found.unit == "ms":
        say(f"latency: {found.planned:.3g} ms predicted, {found.budget:.3g} ms allowed, {found.whole:.3g} ms before")
    if result.tokens is not None:
        say(f"vocabulary: {result.tokens[1]:,} of {result.tokens[0]:,} tokens, in the model and in its tokenizer.json")
    if result.zeros:
        weights, zeros = sum(layer.weights for layer in result.zeros), sum(layer.zeros for layer in result.zeros)
        say(
            f"zeros: {zeros:,} of {weights:,} weights in {len(result.zeros)} layers; CPU providers multiply them like others, "
            "so no time is gained; the compressed file is smaller"
        )
    for line in run.exported_lines(result, options):
        say(line)
    for line in accuracy_lines(run, result.path):
        say(line)
