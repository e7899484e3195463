"""Child processes and temporary folders that must not outlive this process.

`atexit` and ``finally`` do not run when a process is killed. So a small separate process (`edgeopt._cleanup`) reads a pipe
from this one, on which every child and every temporary folder is announced; when this process ends, for whatever reason, the
pipe ends, and what is still announced is killed and removed. It is started with the first of them.

Each child leads a separate process group: an interrupt from the terminal reaches only this process, which ends the whole
group, including what the child has started.
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
from typing import IO, Any, Literal
from weakref import WeakSet

_KILL_S = 10.0  # how long the system may take to end a killed process
_INTERRUPTED = 128 + signal.SIGINT  # exit code of what an interrupt ended, as shells give it
_Kind = Literal["group", "folder"]
_ended: WeakSet[subprocess.Popen[bytes]] = WeakSet()


@contextmanager
def temporary_folder(prefix: str = "edgeopt-") -> Iterator[Path]:
    """Yield a temporary folder; it is removed at the end of the block, and when this process is killed."""
    name = tempfile.mkdtemp(prefix=prefix)
    _cleaner.tell("add", "folder", name)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)
        _cleaner.tell("drop", "folder", name)


def start(command: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start a child process in its own process group, which ends with this process; `how` is passed to `subprocess.Popen`.

    Call `end` when it is no longer needed.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(list(command), start_new_session=True, **how)
    _cleaner.tell("add", "group", process.pid)
    return process


def end(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """Wait up to `grace_s` seconds for a child to exit, then kill its whole group; call it once."""
    if process in _ended:
        return  # its id may belong to another process by now
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
    """Run a command and return its output; it ends with this process.

    Args:
        command: the program and its arguments.
        stdin: its input, or a file descriptor.
        stdout: where its output goes; a pipe is returned.
        timeout_s: seconds after which it is killed; None: never.
        environment: its environment variables; None: those of this process.

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
                with contextlib.suppress(OSError):  # input that it no longer read
                    stream.close()
    return Finished(process.returncode, *((data or b"").decode("utf-8", "replace") for data in (out, err)))


@dataclass(frozen=True)
class Finished:
    """Exit status and output of a command."""

    returncode: int
    stdout: str
    stderr: str


@contextmanager
def stop_on_interrupt(last_words: str = "") -> Iterator[None]:
    """End this process with exit code 130 if the block does not end within seconds of an interrupt (Ctrl-C, SIGINT).

    Python raises `KeyboardInterrupt` when the interpreter runs again, which a call into a library can delay for ever. A thread
    ends the process where the library lets go of the interpreter, as onnxruntime does; else it is killed. For a command line
    only: a notebook continues after an interrupt.

    Args:
        last_words: written to stderr by the thread.
    """
    pipe = _cleaner.pipe()
    if pipe is None or os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    _cleaner.obey(last_words)
    before = signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _cleaner.calm()


def answered_interrupt() -> None:
    """Say that an interrupt inside `stop_on_interrupt` was answered, and that the process goes on."""
    _cleaner.calm()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "nt":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group has ended already
        os.killpg(process.pid, signal.SIGKILL)


class _Cleaner:
    """The pipe to the clean-up process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._obeys = False

    def pipe(self) -> int | None:
        """Return the pipe's descriptor, starting the process if necessary; None: it cannot be started."""
        with self._lock:
            if self._process is None:
                script = Path(__file__).with_name("_cleanup.py")
                command = [sys.executable, "-I", "-S", str(script), str(os.getpid())]
                pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
                try:
                    self._process = subprocess.Popen(
                        command, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True, cwd="/"
                    )
                except OSError:  # no process can be started: only `finally` cleans up
                    return None
                atexit.register(self.close)
                if self._process.stdin is not None:
                    os.set_blocking(self._process.stdin.fileno(), False)  # required by `signal.set_wakeup_fd`
            stdin = self._process.stdin
            return None if stdin is None or stdin.closed else stdin.fileno()

    def tell(self, verb: Literal["add", "drop"], kind: _Kind, what: int | str) -> None:
        """Announce a child or a folder, or withdraw it."""
        pipe = self.pipe()
        if pipe is not None:
            with contextlib.suppress(OSError), self._lock:  # it was killed
                os.write(pipe, json.dumps({verb: kind, "what": what}).encode() + b"\n")

    def calm(self) -> None:
        """Take an interrupt back: this process has answered it."""
        with contextlib.suppress(OSError), self._lock:
            if self._process is not None and self._process.stdin is not None and not self._process.stdin.closed:
                os.write(self._process.stdin.fileno(), b'{"calm": true}\n')

    def obey(self, last_words: str) -> None:
        """Start the thread that ends this process when the clean-up process says that an interrupt was not answered."""
        stdout = self._process.stdout if self._process is not None else None
        if stdout is not None and not self._obeys:
            self._obeys = True
            threading.Thread(target=_end_when_told, args=(stdout, last_words), daemon=True).start()

    def close(self) -> None:
        """Let the process end: nothing is announced any more."""
        with self._lock:
            process, self._process, self._obeys = self._process, None, False
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=_KILL_S)
            _close_output(process)

    def forget(self) -> None:
        """Close the pipe in a forked child: it must end with the parent."""
        process, self._process, self._obeys, self._lock = self._process, None, False, threading.Lock()
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.returncode = 0  # the parent's child, not this process'
        _close_output(process)


def _close_output(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.stdout is not None:
        with contextlib.suppress(OSError):
            process.stdout.close()


def _end_when_told(stream: IO[bytes], last_words: str) -> None:
    """End this process when a byte arrives on `stream`; at its end, which comes with that of the other process, return."""
    with contextlib.suppress(OSError, ValueError):
        if os.read(stream.fileno(), 1):
            os.write(2, last_words.encode())
            os._exit(_INTERRUPTED)


_cleaner = _Cleaner()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cleaner.forget)
