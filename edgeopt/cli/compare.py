"""`edgeopt compare`: compare a profile with an earlier one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Format, Set, Undecided
from edgeopt.cli.output import print_json, say


def compare(
    base: Annotated[Path, typer.Argument(help="Earlier profile, written by edgeopt profile --format json.")],
    new: Annotated[Path, typer.Argument(help="Later profile.")],
    changes: Set = None,
    undecided: Undecided = "pass",
    form: Format = "table",
) -> None:
    """Compare two profiles at a stated false-alarm rate; the exit code is 1 if a figure became worse.

    Figures that could not be compared (other devices, few runs) count as --undecided says.

    Formats: table, json, markdown, junit, github (annotations for a workflow).
    """
    from edgeopt.cli.options import CI_FORMATS, need_format, print_checks, read_options, read_undecided
    from edgeopt.cli.tables import show
    from edgeopt.profile.regression import CompareConfig, read_profile
    from edgeopt.profile.regression import compare as run
    from edgeopt.report.checks import checks_of_regressions

    need_format(form, ("table", "json", "markdown", *CI_FORMATS))
    failing = {"fail", "undecided"} if read_undecided(undecided) == "fail" else {"fail"}
    found = run(read_profile(base), read_profile(new), config=read_options(CompareConfig, changes))
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
