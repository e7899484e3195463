"""Client of the runner: one JSON request out, one JSON reply back, errors mapped to our error classes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np

from edgeopt import lifetime
from edgeopt.batches import Batch
from edgeopt.errors import EdgeoptError, InternalError, MachineError, ModelError
from edgeopt.escaping import one_line
from edgeopt.targets.replies import MOST_BYTES, ReplyFormError, Told, UnreadableReply, parse_reply

_INTERRUPTED_S = 0.5
_WAITING = 64  # replies that are read ahead; a runner that never stops must not fill the memory
_LAST_WORDS = 1 << 16
_KINDS: Mapping[str, type[EdgeoptError]] = {
    "model": ModelError,
    "machine": MachineError,
    "request": InternalError,
    "fault": InternalError,
}


class Runner(Protocol):
    """Anything that answers the runner's requests, which `edgeopt.targets.requests` has as functions."""

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        """Send one request and return the reply, as the type that belongs to the request (`edgeopt.targets.replies`).

        Raises:
            ModelError, MachineError, InternalError: reported by the runner.
            ConnectionLost: the runner exited or does not reply.
        """
        ...


class ConnectionLost(MachineError):  # noqa: N818  (the error is the machine's; this says which)
    """The runner exited unexpectedly: a cut connection, a killed process, a device out of memory."""


def read_reply(line: bytes, request: Mapping[str, Any], *, where: str) -> Any:
    """Return the result in the reply `line` to `request`, or raise the error that it reports.

    Raises:
        UnreadableReply: the line is not a reply.
        MachineError: the reply has the wrong form.
    """
    try:
        answer = parse_reply(line, request)
    except ReplyFormError as error:
        raise MachineError(
            f"{where}: its runner's reply has the wrong form ({error}); copy this edgeopt's runner there"
        ) from error
    if isinstance(answer, Told):
        who, message = answer.kind, one_line(answer.message)
        raise _KINDS.get(who, InternalError)(message if who in ("model", "machine") else f"{where}: {message}")
    return answer


class ProcessRunner:
    """A runner connected by the pipes of a child process, which may itself be a connection to another machine.

    The child has its own process group and its own temporary folder: what it starts and what it writes there
    is removed with it, even if this process is killed (see `edgeopt.lifetime`).
    """

    def __init__(self, command: Sequence[str], *, where: str) -> None:
        self._where = where
        with ExitStack() as stack:
            folder = stack.enter_context(lifetime.temporary_folder("edgeopt-runner-"))
            self._log = stack.enter_context(tempfile.TemporaryFile())
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
            try:
                self._process = lifetime.start(command, env={**os.environ, "TMPDIR": str(folder)}, **pipes)
            except OSError as error:
                raise MachineError(f"{where}: cannot start {command[0]}: {error.strerror}") from error
            self._held = stack.pop_all()
        self._lines: queue.Queue[bytes] = queue.Queue(_WAITING)
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):  # the stream was closed
            while line := stream.readline(MOST_BYTES + 1):
                self._put(line)
                if len(line) > MOST_BYTES or self._ended.is_set():
                    break
        self._put(b"")

    def _put(self, line: bytes) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._lines.put(line, timeout=0.1)
                return

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        """Send one request and return the reply (see `Runner.ask`)."""
        line = self._exchange(json.dumps(request), timeout_s)
        try:
            return read_reply(line, request, where=self._where)
        except UnreadableReply as error:
            raise ConnectionLost(self._lost(str(error))) from error

    def _exchange(self, line: str, timeout_s: float) -> bytes:
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(line.encode() + b"\n")
                stdin.flush()
            answer = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            raise ConnectionLost(self._lost(f"no reply within {timeout_s:.0f} s")) from error
        except (OSError, ValueError) as error:
            raise ConnectionLost(self._lost(str(error))) from error
        if not answer:
            raise ConnectionLost(self._lost("connection closed"))
        return answer

    def _lost(self, what: str) -> str:
        self._end(grace_s=2.0)
        said = ""
        if not self._log.closed:
            self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LAST_WORDS))
            said = ["", *self._log.read().decode("utf-8", "replace").strip().splitlines()][-1]
        status = f"exit status {self._process.returncode}"
        return f"{self._where}: the runner exited unexpectedly ({what}, {status}){f': {one_line(said[:200])}' if said else ''}"

    def _end(self, grace_s: float) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):  # the other end may have exited
                self._process.stdin.close()
        lifetime.end(self._process, grace_s=grace_s)
        self._ended.set()
        self._reader.join(timeout=5.0)

    def close(self, *, grace_s: float = 5.0) -> None:
        """End the child: close its input, and kill it if it does not exit within `grace_s` seconds."""
        self._end(grace_s)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(grace_s=5.0 if kind is None or issubclass(kind, Exception) else _INTERRUPTED_S)


def write_batches(batches: Sequence[Batch], path: Path) -> None:
    """Write the batches for the runner: an .npz file with entries named "<batch>/<input>", texts as numpy's own type."""
    entries = {
        f"{number}/{name}": array.astype(str) if array.dtype.kind == "O" else array
        for number, batch in enumerate(batches)
        for name, array in batch.items()
    }
    np.savez(path, **entries)  # type: ignore[arg-type]
