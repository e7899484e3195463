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
    time_limit: Annotated[
        float, typer.Option("--time-limit", metavar="SECONDS", min=0, help="The bundle fails that takes longer; 0: no limit.")
    ] = 600.0,
    form: Format = "table",
) -> None:
    """Check hashes, signature, schema and golden outputs of a bundle; exit code 2 if a check is impossible.

    What failed: 1 changed or wrong, 4 truncated, 5 of a later version, 6 for another processor, 7 the signature does not fit,
    8 another key signed it, 9 unsigned.
    """
    from edgeopt.bundle import verify_bundle
    from edgeopt.bundle.pack import unpacked
    from edgeopt.cli.options import need_format

    need_format(form, ("table", "json"))
    with unpacked(bundle) as folder:
        report = verify_bundle(folder, trusted=trusted, time_limit_s=time_limit)
    if form == "json":
        print_json(asdict(report))
    else:
        for check in report.checks:
            say(f"{check.status:<9} {check.name}: {check.detail}")
        say(f"{report.path}: {report.verdict}")
    raise typer.Exit(report.exit_code)
