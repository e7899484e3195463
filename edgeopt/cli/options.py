"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edgeopt.cli.output import warn
from edgeopt.cli.quiet_libraries import silence

if TYPE_CHECKING:
    from edgeopt.batches import Batch
    from edgeopt.config import Options
    from edgeopt.data.samples import Samples
    from edgeopt.report.checks import Check
    from edgeopt.verdict.exit_code import Undecided as UndecidedAs

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.", callback=silence)]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one option; may be repeated.")]
Builder = Annotated[
    str | None,
    typer.Option("--builder", metavar="MODULE:CALLABLE", help="The code that a saved folder may run (docs/concepts/trust.md)."),
]
TargetName = Annotated[
    str, typer.Option("--target", "-t", help="Name of a target (see edgeopt targets), a .toml file, or host.")
]
Format = Annotated[str, typer.Option("--format", help="table, json or markdown.")]

Undecided = Annotated[
    str, typer.Option("--undecided", metavar="pass|fail", help="What a budget that could not be decided counts as.")
]

_T = TypeVar("_T", bound="Options")


def read_options(kind: type[_T], changes: Sequence[str] | None, **given: Any) -> _T:
    """Return options of `kind` from ``KEY=VALUE`` texts and from the arguments in `given` (None: not given)."""
    from edgeopt.recipe import apply_change

    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    for change in changes or []:
        apply_change(values, change)
    return kind.read(values, where="options")


def read_calibration(
    data: str,
    tokenizer: Path | None = None,
    model: Path | None = None,
    *,
    split: str = "calibration",
    task: str | None = None,
) -> Samples:
    """Return the samples that `data` names, for the inputs of the ONNX file `model` if given; see `edgeopt.data.source`.

    `task` says how labels are read; None: the data say it.
    """
    from edgeopt.data.source import open_source
    from edgeopt.data.source_options import Reader
    from edgeopt.tasks.registry import find_task, reading_name

    known = reading_name(find_task(task).name) if task else None
    reader = Reader((), tokenizer, task=known)
    if model is not None:
        from edgeopt.graph import files

        signature = files.signature(files.load(model))
        reader = Reader(tuple(spec.name for spec in signature.inputs), tokenizer, signature, task=known)
    return open_source(data, reader, split=split)


def checked_calibration(samples: Samples, limit: int | None = None) -> Samples:
    """Return `limit` of the samples (None: all) after a look at each.

    What is wrong with one is an error or a warning on stderr that names it; classes that are missing are a warning, too.
    """
    from edgeopt.data.checks import check_samples, raise_errors, warnings_of
    from edgeopt.data.labels import known_classes, missing_classes
    from edgeopt.data.select import limited

    chosen = limited(samples, limit)
    findings = check_samples(chosen, ranges=samples.ranges)
    raise_errors(findings)
    missing = missing_classes(chosen.labels, known_classes(samples.labels), where="the calibration data")
    for warning in [*warnings_of(findings), *filter(None, [missing])]:
        warn(warning)
    return chosen


def read_inputs(
    model: Path, data: str | None, tokenizer: Path | None, *, count: int, sizes: Mapping[str, int] | None = None
) -> list[Batch]:
    """Return `count` batches of one sample each: from `data`, or random values of the model's shapes.

    `sizes` has the sizes of axes by name, where they are known.
    """
    from edgeopt.data.random_inputs import random_batches
    from edgeopt.data.select import limited

    if data is None:
        return random_batches(model, count=count, sizes=sizes or {})
    return list(limited(read_calibration(data, tokenizer, model), count).batches(1))


def inputs_line(inputs: Mapping[str, Sequence[str]], *, given: bool) -> str:
    """Return the line that states the shapes that were measured, and whether the user chose them."""
    shapes = "; ".join(f"{name} {' or '.join(kinds)}" for name, kinds in inputs.items())
    return f"inputs: {shapes}" if given else f"random inputs: {shapes}; give real ones with --data"


CI_FORMATS = ("junit", "github")


def print_checks(checks: Sequence[Check], form: str) -> None:
    """Print checks as JUnit XML or as annotations of a GitHub workflow."""
    from edgeopt.report.annotations import github_annotations
    from edgeopt.report.junit import junit

    typer.echo(junit(checks) if form == "junit" else "\n".join(github_annotations(checks)), nl=form != "junit")


def refuse_others(context: typer.Context, taken: Collection[str], reason: str) -> None:
    """Refuse options on the command line that are not among `taken` (names of parameters); `reason` says why.

    Raises:
        RecipeError: naming them.
    """
    from edgeopt.errors import RecipeError

    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in taken
        and (source := context.get_parameter_source(parameter.name or "")) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise RecipeError(f"{', '.join(given)}: {reason}; leave {'it' if len(given) == 1 else 'them'} out")


def read_undecided(value: str) -> UndecidedAs:
    """Return what an undecided budget counts as."""
    from edgeopt.errors import RecipeError
    from edgeopt.verdict.exit_code import Undecided as Known

    if value not in tuple(Known):
        raise RecipeError(f"--undecided {value}: choose pass or fail")
    return Known(value)


def need_format(value: str, allowed: Sequence[str] = ("table", "json", "markdown")) -> str:
    """Return `value`; raise an error if it is not one of the formats in `allowed`."""
    from edgeopt.errors import RecipeError, nearest

    if value not in allowed:
        raise RecipeError(f"--format {value}{nearest(value, allowed)}: choose {', '.join(allowed)}")
    return value
