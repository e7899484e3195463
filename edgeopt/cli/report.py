"""`edgeopt report`: write the report of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Undecided


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart.")],
    undecided: Undecided = "fail",
) -> None:
    """Write report.html, report.json and report.md of a finished run again, and print the summary; runs no stage."""
    from edgeopt.cli.options import read_undecided
    from edgeopt.cli.summary import finish
    from edgeopt.documents import read_bytes
    from edgeopt.errors import DataError
    from edgeopt.pipeline import RECORD_FILE
    from edgeopt.report import RunRecord

    undecided_as = read_undecided(undecided)
    path = run / RECORD_FILE
    if not path.is_file():
        raise DataError(f"{run}: no finished run here ({RECORD_FILE} is missing); give a folder that edgeopt run has finished")
    finish(RunRecord.from_json(read_bytes(path, error=DataError, what="a run record"), where=str(path)), run, undecided_as)
