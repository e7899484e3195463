"""`edgeopt profile`: measure models against budgets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Format, Quiet, Set, TargetName, Undecided
from edgeopt.cli.output import print_json, say
from edgeopt.errors import ModelError

if TYPE_CHECKING:
    from edgeopt.profile.result import ProfileResult


_RANDOM = 8  # batches, where no real ones are given


def profile(
    context: typer.Context,
    models: Annotated[list[Path], typer.Argument(help="ONNX files, the first is the baseline; or folders of language models.")],
    target: TargetName = "host",
    data: Annotated[str | None, typer.Option("--data", help="Real inputs; default: random ones of the model's shapes.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    budget: Annotated[list[str] | None, typer.Option("--budget", help='Such as "p95_ms<=20 @99%"; may be repeated.')] = None,
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", help='Labelled samples for a budget such as "accuracy_drop<=0.5".')
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Time limit of the whole measurement.")] = None,
    changes: Set = None,
    report: Annotated[Path | None, typer.Option("--report", help="Folder for report.html, report.json and report.md.")] = None,
    undecided: Undecided = "fail",
    form: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Measure models interleaved on a target and judge budgets; the exit code is 1 if a budget is missed or undecided.

    Formats: table, json, markdown, junit, github (annotations for a workflow).
    """
    missing = next((model for model in models if not model.exists()), None)
    if missing is not None:
        raise ModelError(f"{missing}: no such model file or folder; give an ONNX file, or the folder of a language model")
    if models and all(model.is_dir() for model in models):
        from edgeopt.cli.profile_generation import check_options, profile_folders

        check_options(context, target)
        raise typer.Exit(profile_folders(models, budget or [], changes=changes, undecided=undecided, form=form, quiet=quiet))
    from edgeopt.cli.options import (
        CI_FORMATS,
        need_format,
        print_checks,
        read_calibration,
        read_inputs,
        read_options,
        read_undecided,
    )
    from edgeopt.cli.profile_tables import show_profile
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.summary import UNDECIDED_FAILS
    from edgeopt.profile import ProfileConfig
    from edgeopt.profile import profile as run
    from edgeopt.report.checks import checks_of_profile
    from edgeopt.stages.drops import accuracy_drops
    from edgeopt.targets.target import load_target
    from edgeopt.verdict.exit_code import exit_code_of_budgets

    need_format(form, ("table", "json", "markdown", *CI_FORMATS))
    undecided_as = read_undecided(undecided)
    config = read_options(ProfileConfig, changes, seconds=seconds, budget=budget or None)
    named = _named(models)
    loaded_target = load_target(target)
    inputs = read_inputs(models[0], data, tokenizer, count=config.max_batches if data else _RANDOM)
    with shown(quiet=quiet):
        drops = (
            accuracy_drops(named, read_calibration(evaluate, tokenizer, models[0], split="evaluation"), loaded_target)
            if evaluate
            else {}
        )
        result = run(named, inputs, target=loaded_target, config=config, drops=drops)
    for name, drop in drops.items():
        say(f"{drop.metric} of {name}: {drop.value_text} of {drop.n:,} samples", err=True)
    if report is not None:
        _write_report(result, named, report)
    if form == "json":
        print_json(result.facts())
    elif form in CI_FORMATS:
        print_checks(checks_of_profile(result), form)
    else:
        show_profile(result, markdown=form == "markdown", given=data is not None)
    code = exit_code_of_budgets(result.budgets, undecided_as)
    if code and result.verdict != "fail":
        say(UNDECIDED_FAILS, err=True)
    raise typer.Exit(code)


def _write_report(result: ProfileResult, models: dict[str, Path], folder: Path) -> None:
    """Write the HTML, JSON and Markdown reports of this profile."""
    from edgeopt.report import RunRecord, StageRecord, build_report, write_report
    from edgeopt.store import key_of

    facts = result.facts()
    stage = StageRecord("profile", key_of(facts), "made", round(result.elapsed_s, 3), facts)
    record = RunRecord(" and ".join(models), {"models": [str(path) for path in models.values()]}, result.target, (stage,))
    page, *_ = write_report(build_report(record), folder)
    say(f"report  {page}", err=True)


def _named(models: list[Path]) -> dict[str, Path]:
    """Return the models by file name, or by their path where two share a name."""
    stems = [model.stem for model in models]
    return {(model.stem if stems.count(model.stem) == 1 else str(model)): model for model in models}
