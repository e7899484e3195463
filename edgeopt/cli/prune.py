"""`edgeopt prune`: remove channels of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Builder, Quiet, Set
from edgeopt.cli.output import say, warn


def prune(
    model: Annotated[str, typer.Argument(help="The model: a folder that edgeopt wrote, or module:callable.")],
    data: Annotated[str, typer.Option("--data", help="Training samples: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the pruned model.")],
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Teacher of the recovery; default: the model itself.")
    ] = None,
    macs: Annotated[float | None, typer.Option("--macs", help="Share of the multiply-accumulates to keep.")] = None,
    builder: Builder = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Prune: remove channels along the dependency graph, then recover. A killed run resumes. Options: --set train.epochs=5."""
    from edgeopt.cli.options import read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.training import resumable, training_samples
    from edgeopt.models.load import load_model
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.stage import prune as run

    options = read_options(PruneOptions, changes, macs=macs)
    loaded = load_model(model, source_builder=builder)
    with shown(quiet=quiet):
        samples, guide = training_samples(data, loaded), load_model(teacher or model, source_builder=builder)
        known = options.model_dump(mode="json")
        with resumable(output, seed=seed, models=[loaded, guide], samples=samples, options=known) as session:
            result = run(loaded, guide, samples, output=output, options=options, session=session)
    before, after = result.before, result.after
    for name, reason in result.spared.items():
        warn(f"layer '{name}' stays whole: {reason}")
    say(f"{output}: {after.macs:,} multiply-accumulates of {before.macs:,}, {after.parameters:,} parameters")
