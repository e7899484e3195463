"""Every reader of files meets some damaged ones; `make sweep` goes on for minutes (benchmarks/sweep/readers.py)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from benchmarks.sweep import readers


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, readers.Target]]:
    folder = tmp_path_factory.mktemp("seeds")
    return folder, readers.targets(folder)


def test_every_reader_reads_or_refuses_in_one_line(
    known: tuple[Path, dict[str, readers.Target]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, targets = known
    monkeypatch.setattr(readers, "_KEPT", tmp_path)
    logging.disable()
    try:
        faults = {name: readers.sweep(name, target, seconds=0.3, seed=1, folder=folder) for name, target in targets.items()}
    finally:
        logging.disable(logging.NOTSET)
    assert faults == dict.fromkeys(targets, 0), f"see {tmp_path}"


def test_a_reader_that_crashes_hangs_or_says_several_lines_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeopt.errors import DataError, InternalError

    monkeypatch.setattr(readers, "_KEPT", tmp_path / "kept")

    def read(path: Path) -> None:
        first = path.read_bytes()[:1]
        raise {b"a": KeyError("x"), b"b": InternalError("x"), b"c": DataError("a\nb")}.get(first, DataError("fine"))

    found = {letter: readers.fault(read, _file(tmp_path, letter)) for letter in "abcd"}
    assert found == {"a": "KeyError: 'x'", "b": "exit code 3: x", "c": "several lines: a\nb", "d": None}
    target = readers.Target(read, {"x": b"abc" * 20})
    assert readers.sweep("x", target, seconds=0.2, seed=0, folder=tmp_path) >= 1
    assert (tmp_path / "kept" / "x" / "1" / "x").exists()


def _file(folder: Path, text: str) -> Path:
    (folder / text).write_text(text)
    return folder / text
