"""The other end of the runner's line: one JSON request out, one JSON reply back, errors mapped to who must act."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np

from edgeopt.data.batches import Batch
from edgeopt.errors import EdgeoptError, InternalError, MachineError, ModelError

PROTOCOL = 1
_KINDS: Mapping[str, type[EdgeoptError]] = {
    "model": ModelError,
    "machine": MachineError,
    "request": InternalError,
    "fault": InternalError,
}


class Runner(Protocol):
    """Whatever answers the runner's requests; see ``deploy/runner/measure.py`` for what can be asked."""

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> dict[str, Any]:
        """Send one request and return the reply.

        Raises:
            ModelError, MachineError, InternalError: as the runner says.
            ConnectionLost: the runner went away.
        """
        ...


class ConnectionLost(MachineError):  # noqa: N818  (the error is the machine's; this says which)
    """The runner went away in the middle: a cable, a killed process, a device that ran out of memory."""


def read_reply(line: str, *, where: str) -> dict[str, Any]:
    """Return what a reply says, or raise the error it tells of."""
    reply = json.loads(line)
    if "error" in reply:
        kind, message = reply["error"]["kind"], reply["error"]["message"]
        raise _KINDS.get(kind, InternalError)(message if kind in ("model", "machine") else f"{where}: {message}")
    answer: dict[str, Any] = reply["ok"]
    return answer


class ProcessRunner:
    """A runner at the end of a child process' pipes; the child may itself be a connection to another machine."""

    def __init__(self, command: Sequence[str], *, where: str) -> None:
        self._where = where
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8"
            )
        except OSError as error:
            self._log.close()
            raise MachineError(f"{where}: cannot start {command[0]}: {error.strerror}") from error
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str] | None) -> None:
        for line in stream or ():
            self._lines.put(line)
        self._lines.put("")

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> dict[str, Any]:
        """Send one request and return the reply (see `Runner.ask`)."""
        line = self._exchange(json.dumps(request), timeout_s)
        try:
            return read_reply(line, where=self._where)
        except json.JSONDecodeError as error:
            raise ConnectionLost(self._lost(f"it answered {line[:80]!r}")) from error

    def _exchange(self, line: str, timeout_s: float) -> str:
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(line + "\n")
                stdin.flush()
            answer = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            raise ConnectionLost(self._lost(f"no answer within {timeout_s:.0f} s")) from error
        except (OSError, ValueError) as error:
            raise ConnectionLost(self._lost(str(error))) from error
        if not answer:
            raise ConnectionLost(self._lost("it closed the line"))
        return answer

    def _lost(self, what: str) -> str:
        self._end(grace_s=2.0)
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip().splitlines()
        last = f": {said[-1][:200]}" if said else ""
        return f"{self._where}: the runner went away ({what}, exit status {self._process.returncode}){last}"

    def _end(self, grace_s: float) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):  # the other end may be gone already
                self._process.stdin.close()
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(timeout=5.0)

    def close(self) -> None:
        """End the child: its end of file first, and if it does not listen, by force."""
        self._end(grace_s=5.0)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def greet(runner: Runner, *, where: str) -> dict[str, Any]:
    """Ask what is there and check that both ends speak the same protocol."""
    hello = runner.ask({"do": "hello"}, timeout_s=120.0)
    if hello["protocol"] != PROTOCOL:
        raise MachineError(f"{where}: its runner speaks protocol {hello['protocol']}, this edgeopt {PROTOCOL}; copy it again")
    return hello


def write_batches(batches: Sequence[Batch], path: Path) -> None:
    """Write the batches as the runner reads them: an .npz file whose entries are called "<batch>/<input>"."""
    entries = {f"{number}/{name}": array for number, batch in enumerate(batches) for name, array in batch.items()}
    np.savez(path, **entries)  # type: ignore[arg-type]
