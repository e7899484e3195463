"""Internal errors: one line, and the traceback in a file."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

import pytest

from edgeopt.cli.crash import report_crash


def ended_by(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return the exit code of a command that raises `error`."""
    import edgeopt.cli

    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(edgeopt.cli, "app", broken)
    with pytest.raises(SystemExit) as ended:
        edgeopt.cli.main()
    return ended.value.code


def test_an_exception_of_ours_ends_with_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(ZeroDivisionError("oh"), monkeypatch) == 3
    text = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: oh" in text
    log = Path(text.rsplit(" ", maxsplit=1)[-1].strip())
    assert "Traceback" in log.read_text(encoding="utf-8")
    log.unlink()


def test_too_little_memory_is_no_internal_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(MemoryError("Unable to allocate 7.28 TiB for an array"), monkeypatch) == 2
    assert capsys.readouterr().err.startswith("edgeopt: not enough memory: Unable to allocate 7.28 TiB for an array; ")


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), tempfile.gettempdir()),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a.npz"), "a.npz"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]), tempfile.gettempdir()),
        (ValueError("I/O error: No space left on device (os error 28)"), tempfile.gettempdir()),
    ],
)
def test_a_full_disk_is_no_internal_error(
    error: Exception, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it shows: the folder of temporary files is written to by nearly every command."""
    assert ended_by(error, monkeypatch) == 2
    line = capsys.readouterr().err
    assert line.startswith("edgeopt: the disk is full: ") and where in line and line.count("\n") == 1


def test_control_characters_of_a_message_stay_text() -> None:
    line = report_crash(ValueError("a\x1b[31m\nb"))
    assert line.count("\n") == 1 and "\x1b" not in line
    Path(line.rsplit(" ", maxsplit=1)[-1].strip()).unlink()


def test_where_no_file_can_be_written_the_traceback_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    text = report_crash(ValueError("bad"))
    assert text.endswith("edgeopt: internal error: ValueError: bad\n") and "ValueError: bad\n\n" in text


@pytest.mark.parametrize("command", ["quantize", "profile", "export", "verify", "report"])
def test_a_path_that_no_system_takes_is_the_callers_fault(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    import edgeopt.cli

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["edgeopt", command, "a" * 300 + ".onnx", "-o", "b"])
        edgeopt.cli.main()
    text = capsys.readouterr().err
    assert ended.value.code == 2, text
    assert "internal error" not in text
