"""`edgeopt report`: the report of a finished run again."""

from __future__ import annotations

from pathlib import Path

from edgeopt.pipeline import RECORD_FILE
from edgeopt.report import RunRecord
from tests.cli.conftest import edgeopt_here


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    done = edgeopt_here("report", str(tmp_path))
    assert done.returncode == 2 and "no finished run here" in done.stderr


def test_the_files_are_written_again(tmp_path: Path) -> None:
    (tmp_path / RECORD_FILE).write_text(RunRecord("mine", {}, "x86-vnni", ()).to_json(), encoding="utf-8")
    done = edgeopt_here("report", str(tmp_path))
    assert done.returncode == 0 and done.stdout.startswith("UNDECIDED")
    assert {"report.html", "report.json", "report.md"} <= {path.name for path in tmp_path.iterdir()}
