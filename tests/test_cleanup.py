"""The process that clears up: what is registered ends with the pipe, what was withdrawn stays, an interrupt has a limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeopt import _cleanup

if sys.platform == "win32":
    pytest.skip("signals and process groups are POSIX", allow_module_level=True)

_IMPATIENT = """
import sys
from edgeopt import _cleanup

def listen(*arguments, listen=_cleanup._listen):
    print("on", flush=True)  # signals are ignored from here on
    listen(*arguments)

_cleanup._INTERRUPT_S, _cleanup._FORCE_S, _cleanup._listen = 0.3, 0.3, listen
_cleanup.main(int(sys.argv[1]))
"""


class Cleaner:
    """The process, impatient after an interrupt, for a parent that is a `sleep`."""

    def __init__(self) -> None:
        self.parent = subprocess.Popen(["sleep", "60"])
        command = [sys.executable, "-c", _IMPATIENT, str(self.parent.pid)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self.read(3) == b"on\n"

    def read(self, count: int) -> bytes:
        """Return what it says, `count` bytes or all until its end."""
        assert self.process.stdout is not None
        said = b""
        while len(said) < count and (more := self.process.stdout.read(1)):
            said += more
        return said

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def tell(self, **request: object) -> None:
        self.write(json.dumps(request).encode() + b"\n")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0


@pytest.fixture
def cleaner() -> Iterator[Cleaner]:
    made = Cleaner()
    try:
        yield made
    finally:
        for process in (made.process, made.parent):
            process.kill()
            process.wait()
        for stream in (made.process.stdin, made.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def group() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Return a function that starts a shell script as the leader of a process group; it is ended afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sh", "-c", f"{script}; echo on; sleep 60"], start_new_session=True, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"on\n"  # the trap is set
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_folders_that_are_still_registered_go_when_the_pipe_ends(cleaner: Cleaner, tmp_path: Path) -> None:
    gone, kept = tmp_path / "gone", tmp_path / "kept"
    for folder in (gone, kept):
        (folder / "inner").mkdir(parents=True)
        cleaner.tell(add="folder", what=str(folder))
    cleaner.tell(drop="folder", what=str(kept))
    cleaner.tell(drop="folder", what=str(tmp_path / "never announced"))
    cleaner.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert cleaner.parent.poll() is None, "the parent ended by itself; nothing of it is killed"


def test_groups_are_asked_to_end_and_then_killed(
    cleaner: Cleaner, group: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    asked = group(f"trap 'touch {tmp_path}/asked; exit 3' TERM")
    deaf, spared = group("trap '' TERM"), group("true")
    for process in (asked, deaf, spared):
        cleaner.tell(add="group", what=process.pid)
    cleaner.tell(drop="group", what=spared.pid)
    cleaner.tell(add="group", what=2**30)  # more than any process has
    cleaner.close()
    assert deaf.wait(timeout=10) == -signal.SIGKILL
    assert asked.wait(timeout=10) == 3 and (tmp_path / "asked").exists()
    assert spared.poll() is None


def test_a_request_may_come_in_pieces(cleaner: Cleaner, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    text = json.dumps({"add": "folder", "what": str(folder)}).encode() + b"\n"
    cleaner.write(text[:9])
    time.sleep(0.1)
    cleaner.write(bytes([signal.SIGWINCH]) + text[9:])  # between them the number of a signal that means nothing here
    cleaner.close()
    assert not folder.exists()


@pytest.mark.parametrize("calm", [False, True])
def test_an_interrupt_ends_the_parent_unless_it_is_answered(cleaner: Cleaner, calm: bool) -> None:
    cleaner.write(bytes([signal.SIGINT]))
    if calm:
        cleaner.tell(calm=True)
        time.sleep(0.8)
        assert cleaner.parent.poll() is None
    else:
        assert cleaner.read(1) == b"!", "the parent is asked to end itself first"
        assert cleaner.parent.wait(timeout=30) == -signal.SIGKILL
    cleaner.close()
    assert cleaner.read(9) == b""


def test_signals_that_its_parents_terminal_sends_do_not_end_it(cleaner: Cleaner, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    cleaner.tell(add="folder", what=str(folder))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        cleaner.process.send_signal(number)
    cleaner.close()
    assert not folder.exists()


def test_it_imports_nothing_but_the_standard_library() -> None:
    """It is run as a script with -I -S, so that it starts in milliseconds: no package can be found there."""
    command = [sys.executable, "-I", "-S", _cleanup.__file__, str(os.getpid())]
    done = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
