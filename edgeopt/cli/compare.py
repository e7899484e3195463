"""`edgeopt compare`: compare a profile, an evaluation or a model with an earlier one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Builder, Format, Set, Undecided
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    from edgeopt.verdict.changes import Regressions


def compare(
    base: Annotated[str, typer.Argument(help="Earlier profile or evaluation (their --format json); with --data, a model.")],
    new: Annotated[str, typer.Argument(help="Later one.")],
    data: Annotated[str | None, typer.Option("--data", help="Samples to evaluate two models on.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="What the models are for, with --data.")] = None,
    builder: Builder = None,
    changes: Set = None,
    undecided: Undecided = "pass",
    form: Format = "table",
) -> None:
    """Compare two profiles, two evaluations, or two models on --data; the exit code is 1 if a figure became worse.

    A change counts at a stated false-alarm rate; evaluations are compared in pairs. Figures that could not be compared (other
    devices or samples, few runs) count as --undecided says.

    Formats: table, json, markdown, junit, github (annotations for a workflow).
    """
    from edgeopt.cli.options import CI_FORMATS, need_format, print_checks, read_undecided
    from edgeopt.cli.tables import show
    from edgeopt.report.checks import checks_of_regressions

    need_format(form, ("table", "json", "markdown", *CI_FORMATS))
    failing = {"fail", "undecided"} if read_undecided(undecided) == "fail" else {"fail"}
    found = _compared(base, new, _Models(data, task, builder), changes)
    if form == "json":
        print_json(asdict(found))
    elif form in CI_FORMATS:
        print_checks(checks_of_regressions(found), form)
    else:
        show(
            [{"model": it.variant, "figure": it.metric, "finding": it.finding, "why": it.reason} for it in found.changes], form
        )
    for note in found.notes:
        say(f"note: {note}", err=True)
    if found.verdict == "undecided":
        say(
            "note: some figures are undecided, which counts as " + ("a failure" if "undecided" in failing else "passed"),
            err=True,
        )
    raise typer.Exit(1 if found.verdict in failing else 0)


@dataclass(frozen=True)
class _Models:
    """What models are evaluated on and as; `data` is None where files are compared."""

    data: str | None
    task: str | None
    builder: str | None


def _compared(base: str, new: str, models: _Models, changes: list[str] | None) -> Regressions:
    """Return what became worse: of models if there are data for them, else of evaluations or profiles."""
    from edgeopt.cli.options import read_options
    from edgeopt.errors import DataError, RecipeError
    from edgeopt.evaluate.became_worse import (
        EvaluationCompareConfig,
        compare_evaluations,
        is_evaluation,
        read_evaluation,
        stored,
    )
    from edgeopt.evaluate.stage import EvaluateConfig, evaluate
    from edgeopt.profile.became_worse import CompareConfig, compare, read_profile

    if models.data is not None:
        options = read_options(EvaluationCompareConfig, changes)
        found = evaluate([base, new], models.data, config=EvaluateConfig(task=models.task, builder=models.builder))
        return compare_evaluations(stored(found, 0), stored(found, 1), config=options)
    if models.task is not None or models.builder is not None:
        raise RecipeError("--task and --builder are for models, which are evaluated on --data; name the samples")
    files = Path(base), Path(new)
    kinds = {is_evaluation(file) for file in files}
    if len(kinds) > 1:
        raise DataError(f"{base} and {new}: one is an evaluation and the other a profile; compare two of a kind")
    if kinds == {True}:
        before, after = (read_evaluation(file) for file in files)
        return compare_evaluations(before, after, config=read_options(EvaluationCompareConfig, changes))
    return compare(read_profile(files[0]), read_profile(files[1]), config=read_options(CompareConfig, changes))
