"""`edgeopt report`: write the report of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart.")]) -> None:
    """Write report.html, report.json and report.md of a finished run again, and print the summary; runs no stage."""
    from edgeopt.cli.summary import finish
    from edgeopt.errors import DataError
    from edgeopt.pipeline import RECORD_FILE
    from edgeopt.report import RunRecord

    path = run / RECORD_FILE
    if not path.is_file():
        raise DataError(f"{run}: no finished run here ({RECORD_FILE} is missing); give a folder that edgeopt run has finished")
    finish(RunRecord.from_json(path.read_bytes(), where=str(path)), run)
