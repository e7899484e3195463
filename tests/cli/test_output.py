"""Tables that can be copied from, and names that do not drive the terminal or the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgeopt.cli
from edgeopt.cli.tables import show
from edgeopt.errors import InternalError

_LONG = "/model/encoder/" + "/".join(f"layer.{number}" for number in range(60)) + "/MatMul"


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_a_table_in_a_pipe_is_never_cut(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    show([{"node": _LONG, "reason": "because " * 40}, {"node": "b", "reason": "-"}], "table")
    head, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] == _LONG and first.count("because") == 40
    assert not any(line.endswith(" ") for line in (head, first, second))
    assert head.split() == ["node", "reason"] and second.split() == ["b", "-"]


def test_a_name_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"node": "block:fire:conv[bold]x", "op": "Conv"}], "table")
    assert "block:fire:conv[bold]x" in capsys.readouterr().out


def test_a_name_draws_no_line_and_gives_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"node": "::error::pwned\n::warning::x\x1b[2J", "op": "Conv"}]
    show(rows, "table")
    show(rows, "markdown")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3
    assert all(line.isprintable() and not line.lstrip().startswith("::") for line in lines)
    show(rows, "json")
    out = capsys.readouterr().out
    assert json.loads(out) == rows and "\x1b" not in out


def test_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("table", "markdown"):
        show([], form)
    assert capsys.readouterr().out == ""


def test_a_file_name_stays_in_its_error_line(tmp_path: Path) -> None:
    name = "x\x1b[31m\n::error::pwned\r.onnx"
    (tmp_path / name).write_bytes(b"no model")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "edgeopt", "profile", name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("edgeopt: ") and line.isprintable() and r"x\x1b[31m\n::error::pwned\r.onnx" in line


@pytest.mark.parametrize("error", [InternalError("no such\nstate \udcff"), ValueError("a\x1b[31m\nb\udcff")])
def test_an_internal_error_says_so_on_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(edgeopt.cli, "app", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        edgeopt.cli.main()
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 3 and line.startswith("edgeopt: internal error: ") and line.isprintable()
