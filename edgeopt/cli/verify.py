"""`edgeopt verify`: check a bundle's files and outputs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Format


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
        typer.echo(json.dumps(asdict(report), indent=2, ensure_ascii=False))
    else:
        for check in report.checks:
            typer.echo(f"{check.status:<9} {check.name}: {check.detail}")
        typer.echo(f"{report.path}: {report.verdict}")
    raise typer.Exit(report.exit_code)
