"""Files that are whole or not there, also after a kill."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

import edgeopt.files
from edgeopt.errors import MachineError
from edgeopt.files import aside_prefix, disk_errors, exclusive, remove_leftovers, write_aside

KILLED = """
import os, signal, sys
from pathlib import Path
from edgeopt.files import write_aside
with write_aside(Path(sys.argv[1])) as aside:
    aside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    with write_aside(path) as aside:
        aside.write_text("new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == "new"


def test_what_a_living_writer_has_aside_stays(tmp_path: Path) -> None:
    mine = tmp_path / f"{aside_prefix(tmp_path / 'a')}part"
    folder = tmp_path / f"{aside_prefix(tmp_path / 'a')}xyz.part"
    other = tmp_path / f".a.another-{os.getpid()}.part"
    for path in (mine, other):
        path.touch()
    folder.mkdir()
    remove_leftovers(tmp_path / "a")
    assert sorted(tmp_path.iterdir()) == sorted([mine, folder, other])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_while_a_folder_is_copied(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"1234")

    def to_full(source: str, _: str) -> str:
        return shutil.copyfile(source, "/dev/full")

    place = tmp_path / "copy"
    with pytest.raises(MachineError, match=f"{place}: the disk is full"), disk_errors(place):
        shutil.copytree(tmp_path / "bundle", place, copy_function=to_full)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_when_numpy_writes_to_it() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as file,
        pytest.raises(MachineError, match=r"q\.onnx: the disk is full"),
        disk_errors(Path("q.onnx")),
    ):
        np.zeros(1 << 20, np.uint8).tofile(file)


def test_a_lock_goes_with_the_process_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from edgeopt.files import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'x'): print('in', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "deep" / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"in\n"
        with pytest.raises(Timeout):
            FileLock(tmp_path / "deep" / "lock").acquire(blocking=False)
        other.kill()
    with exclusive(tmp_path / "deep" / "lock", "x"):
        pass


def test_who_holds_a_lock_is_said_though_it_was_taken_a_moment_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr("edgeopt.progress.note", notes.append)
    lock, holder, taken = tmp_path / "x.lock", tmp_path / "x.lock-holder", threading.Event()

    def hold() -> None:
        with FileLock(lock):
            holder.write_text("4194305")  # left by a process that is no more
            taken.set()
            time.sleep(0.2)
            holder.write_text(str(os.getpid()))
            time.sleep(0.3)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        assert taken.wait(10)
        with exclusive(lock, "work"):
            assert notes == [f"work: another process ({os.getpid()}) is working here; waiting for it"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no file system without files of one's own")
def test_where_no_file_can_be_created_is_said() -> None:
    for attempt in (lambda path: path.write_bytes(b""), lambda path: path.mkdir()):
        with (
            pytest.raises(MachineError, match="/proc/x: no file can be created in /proc"),
            write_aside(Path("/proc/x")) as aside,
        ):
            attempt(aside)


def test_a_lock_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be created"), exclusive(tmp_path / "file" / "lock", "x"):
        pass


def test_the_package_imports_no_module_that_only_posix_has() -> None:
    package = Path(edgeopt.files.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name in ("fcntl", "pwd", "grp", "termios", "resource", "pty")]
    assert found == []
