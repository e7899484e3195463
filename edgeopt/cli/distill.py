"""`edgeopt distill`: train a student on a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Builder, Quiet, Set
from edgeopt.cli.output import say


def distill(
    teacher: Annotated[str, typer.Argument(help="The teacher: a saved or transformers folder, a hub id, or module:callable.")],
    data: Annotated[str, typer.Option("--data", help="Training samples: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the student.")],
    student: Annotated[str | None, typer.Option("--student", help="The student as module:callable.")] = None,
    layers: Annotated[str | None, typer.Option("--layers", help="Or the layers of the teacher to keep, such as 1,3,5.")] = None,
    builder: Builder = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Distil: train a small student on a teacher's soft labels. A killed run resumes. Options: --set train.epochs=3."""
    from edgeopt.cli.options import read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.training import resumable, training_samples
    from edgeopt.distill.config import DistillOptions
    from edgeopt.distill.stage import distill as run
    from edgeopt.models.load import load_model

    options = read_options(DistillOptions, changes, source=student, layers=_numbers(layers) if layers else None)
    loaded = load_model(teacher, source_builder=builder)
    with shown(quiet=quiet):
        samples = training_samples(data, loaded)
        known = options.model_dump(mode="json")
        with resumable(output, seed=seed, models=[loaded], samples=samples, options=known) as session:
            result = run(loaded, samples, output=output, options=options, session=session)
    say(f"{output}: {result.student.parameters:,} parameters, the teacher has {result.teacher.parameters:,}")


def _numbers(text: str) -> list[int]:
    """Return the numbers in ``1,3,5``."""
    from edgeopt.errors import RecipeError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise RecipeError(f"--layers {text}: write the numbers of the teacher's layers, from 0, such as 1,3,5")
    return [int(part) for part in parts]
