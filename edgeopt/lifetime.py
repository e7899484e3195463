"""What must not outlive this process: its child processes and its temporary folders.

`atexit` and ``finally`` do not run when a process is killed. So a small process of its own (`edgeopt._cleanup`) reads a pipe
from here, on which every child and every temporary folder is announced; when this process is gone, for whatever reason, the
pipe ends, and what is still announced is ended and removed. It is started with the first of them.

Children lead process groups of their own: an interrupt from the terminal reaches only this process, which ends the whole
group, what a child has started included.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

_KILL_S = 10.0  # how long the system may take to end a killed process
_Kind = Literal["group", "folder"]
_ended: WeakSet[subprocess.Popen[bytes]] = WeakSet()


@contextmanager
def temporary_folder(prefix: str = "edgeopt-") -> Iterator[Path]:
    """Yield a temporary folder; it goes away at the end of the block, and when this process is killed."""
    name = tempfile.mkdtemp(prefix=prefix)
    _cleaner.tell("add", "folder", name)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)
        _cleaner.tell("drop", "folder", name)


def start(command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start a child process in a process group of its own, which ends with this process; `how` goes to `subprocess.Popen`.

    Call `end` when it is not needed any more.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(list(command), start_new_session=True, **how)
    _cleaner.tell("add", "group", process.pid)
    return process


def end(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """Wait up to `grace_s` seconds for a child to end by itself, then end its whole group by force; once is enough."""
    if process in _ended:
        return  # its number may be another's by now
    try:
        process.wait(timeout=grace_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_KILL_S)
        _ended.add(process)
        _cleaner.tell("drop", "group", process.pid)


def run(
    command: Sequence[str],
    *,
    stdin: int | bytes = subprocess.DEVNULL,
    stdout: Any = subprocess.PIPE,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command to its end and return what it printed; it ends with this process.

    Args:
        command: the program and its arguments.
        stdin: what it reads, or a file descriptor.
        stdout: where its output goes; a pipe is returned.
        timeout_s: after how many seconds it is ended by force; None: never.
        environment: its environment variables, if not those of this process.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer than `timeout_s`.
    """
    given = stdin if isinstance(stdin, bytes) else None
    source = stdin if isinstance(stdin, int) else subprocess.PIPE
    process = start(command, stdin=source, stdout=stdout, stderr=subprocess.PIPE, env=environment)
    try:
        out, err = process.communicate(given, timeout=timeout_s)
    finally:
        end(process, grace_s=0.0)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    stream.close()
    return Finished(process.returncode, *((data or b"").decode("utf-8", "replace") for data in (out, err)))


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def stop_on_interrupt() -> Iterator[None]:
    """Have this process ended by force if the block does not end within seconds of an interrupt (Ctrl-C, SIGINT).

    Python raises `KeyboardInterrupt` when the interpreter runs again, which a call into a library can put off for ever. For a
    command line only: a notebook goes on after an interrupt.
    """
    pipe = _cleaner.pipe()
    if pipe is None or os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _cleaner.calm()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "nt":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended already
        os.killpg(process.pid, signal.SIGKILL)


class _Cleaner:
    """The pipe to the process that clears up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def pipe(self) -> int | None:
        """Return the pipe's descriptor; start the process if it is not there. None: it cannot be started."""
        with self._lock:
            if self._process is None:
                script = Path(__file__).with_name("_cleanup.py")
                command = [sys.executable, "-I", "-S", str(script), str(os.getpid())]
                pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
                try:
                    self._process = subprocess.Popen(
                        command, stdin=pipe, stdout=nowhere, stderr=nowhere, start_new_session=True, cwd="/"
                    )
                except OSError:  # no process to be had: what is left to do is done by `finally`
                    return None
                atexit.register(self.close)
                if self._process.stdin is not None:
                    os.set_blocking(self._process.stdin.fileno(), False)  # as `signal.set_wakeup_fd` wants it
            stdin = self._process.stdin
            return None if stdin is None or stdin.closed else stdin.fileno()

    def tell(self, verb: Literal["add", "drop"], kind: _Kind, what: int | str) -> None:
        """Announce a child or a folder, or take it back."""
        pipe = self.pipe()
        if pipe is not None:
            with contextlib.suppress(OSError), self._lock:  # somebody ended it
                os.write(pipe, json.dumps({verb: kind, "what": what}).encode() + b"\n")

    def calm(self) -> None:
        """Take an interrupt back: this process has answered it."""
        with contextlib.suppress(OSError), self._lock:
            if self._process is not None and self._process.stdin is not None and not self._process.stdin.closed:
                os.write(self._process.stdin.fileno(), b'{"calm": true}\n')

    def close(self) -> None:
        """Let the process end: nothing is left to do."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_KILL_S)

    def forget(self) -> None:
        """Let go of the pipe in a forked child: it must end with the parent."""
        process, self._process, self._lock = self._process, None, threading.Lock()
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.returncode = 0  # the parent's child, not this process'


_cleaner = _Cleaner()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cleaner.forget)
