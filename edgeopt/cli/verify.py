"""`edgeopt verify`: check a bundle's files and outputs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Format
from edgeopt.cli.output import print_json, say


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, or a packed one (.tar.zst, .zip).")],
    trusted: Annotated[
        Path | None, typer.Option("--trusted", help="Public key (PEM) that must have signed the bundle.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget", metavar="MS", help="p95 in ms that a run may take; 'recorded': 1.25 × the bundle's, same device."
        ),
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", metavar="SECONDS", min=0, help="The bundle fails that takes longer; 0: no limit.")
    ] = 600.0,
    form: Format = "table",
) -> None:
    """Check hashes, signature, golden outputs and placement of a bundle; exit code 2 if a check is impossible.

    What failed: 1 changed or wrong, 4 truncated, 5 of a later version, 6 for another processor, 7 the signature does not fit,
    8 another key signed it, 9 unsigned, 10 operators fell back to another provider, 11 integer kernels to floating point,
    12 over the budget, 13 over the time limit, 14 the chain of origins is broken.
    """
    from edgeopt.bundle import verify_bundle
    from edgeopt.bundle.pack import unpacked
    from edgeopt.bundle.verify import is_budget
    from edgeopt.cli.options import need_format
    from edgeopt.errors import RecipeError

    need_format(form, ("table", "json"))
    if budget is not None and not is_budget(budget):
        raise RecipeError(f"--budget {budget}: not a number of ms above 0, nor 'recorded'; give one such as 12.5")
    with unpacked(bundle) as folder:
        report = verify_bundle(folder, trusted=trusted, time_limit_s=time_limit, budget=budget)
    if form == "json":
        print_json(asdict(report))
    else:
        for check in report.checks:
            say(f"{check.status:<9} {check.name}: {check.detail}")
        say(f"{report.path}: {report.verdict}")
    raise typer.Exit(report.exit_code)
