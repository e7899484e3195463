"""The end of a run: files, summary, exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from edgeopt.cli.summary import UNDECIDED_FAILS, finish
from edgeopt.report import RunRecord
from edgeopt.verdict.exit_code import Undecided


@pytest.mark.parametrize(("undecided", "code"), [(Undecided.FAIL, 1), (Undecided.PASS, 0)])
def test_an_undecided_run_says_what_it_counts_as(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    undecided: Undecided,
    code: int,
) -> None:
    counted = {Undecided.FAIL: 1, Undecided.PASS: 0}
    monkeypatch.setattr("edgeopt.verdict.exit_code.exit_code_of_run", lambda findings, undecided: counted[undecided])
    with pytest.raises(typer.Exit) as ended:
        finish(RunRecord("mine", {}, "x86-vnni", ()), tmp_path, undecided)
    assert ended.value.exit_code == code
    out, err = capsys.readouterr()
    assert f"report  {tmp_path / 'report.html'}" in out and f"bundle  {tmp_path / 'bundle'}" in out
    assert (UNDECIDED_FAILS in err) == bool(code)
