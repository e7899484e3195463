"""`edgeopt verify`: check a bundle's files and outputs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Format
from edgeopt.cli.output import print_json, say


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    form: Format = "table",
) -> None:
    """Check every hash, the schema and the golden outputs of a bundle; exit code 1 if a check fails, 2 if one is impossible."""
    from edgeopt.bundle import verify_bundle
    from edgeopt.cli.options import need_format

    need_format(form, ("table", "json"))
    report = verify_bundle(bundle)
    if form == "json":
        print_json(asdict(report))
    else:
        for check in report.checks:
            say(f"{check.status:<9} {check.name}: {check.detail}")
        say(f"{report.path}: {report.verdict}")
    raise typer.Exit(report.exit_code)
