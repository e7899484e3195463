"""A device with a POSIX shell behind a command (ssh, adb): files are sent once, by hash; interrupted copies resume.

All files are in one folder on the device. A file is named by its hash, an interrupted copy resumes, and it gets
its name only after its hash was checked on the device. The device needs a POSIX shell, `sha256sum`, `wc` and a Python with
numpy and onnxruntime. When the connection is lost the runner exits (end of file), and `start` connects again, opens what was
open and repeats the request.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from edgeopt import lifetime, progress
from edgeopt._folders import shipped
from edgeopt.errors import MachineError
from edgeopt.files import sha256
from edgeopt.graph.files import external_files
from edgeopt.targets.reconnect import ReconnectingRunner
from edgeopt.targets.runner import ConnectionLost, ProcessRunner, Runner

_TRIES = 4
_CONNECTIONS = 7  # with pauses of 1, 2, 4 … s: a minute, in which most boards boot
_PAUSE_S = 1.0


class ShellDevice(ABC):
    """A machine whose shell runs the arguments of `command`."""

    def __init__(self, command: list[str], *, where: str, python: str, folder: str) -> None:
        self._command = command
        self._python = python
        self._folder = folder
        self.where = where

    @abstractmethod
    def lost(self, status: int, said: str) -> bool:
        """Return whether exit status `status` with the last line `said` means a lost connection, not a failed script."""

    def send(self, path: Path) -> str:
        """Copy `path` and its external data to the device, unless they are there, and return the path there."""
        path = Path(path)
        files = [path, *(external_files(path) if path.suffix == ".onnx" else [])]
        digests = {file: sha256(file) for file in files}
        place = hashlib.sha256("".join(sorted(digests.values())).encode()).hexdigest()[:16]
        for file, digest in digests.items():
            self._send_file(file, f"{self._folder}/{place}/{file.relative_to(path.parent)}", digest)
        return f"{self._folder}/{place}/{path.name}"

    def _send_file(self, file: Path, there: str, digest: str) -> None:
        final, part = shlex.quote(there), shlex.quote(there + ".part")
        folder = shlex.quote(os.path.dirname(there))  # noqa: PTH120  (a path of the other machine)
        size = file.stat().st_size
        ask = (
            f"mkdir -p {folder} && if [ -f {final} ]; then echo there; elif [ -f {part} ]; then wc -c < {part}; else echo 0; fi"
        )
        for attempt in range(_TRIES):
            try:
                state = self._run(ask).strip()
                if state == "there":
                    return
                if not state.isdecimal():
                    raise MachineError(
                        f"{self.where}: its shell prints {state[:60]!r} of its own; its start-up files must print nothing"
                    )
                self._append(file, part, offset=min(int(state), size))
                break
            except ConnectionLost:
                if attempt == _TRIES - 1:
                    raise
                progress.note(f"{self.where}: connection lost; resuming {file.name}")
                time.sleep(_PAUSE_S)
                self.reach()
        check = f"""case "$(sha256sum < {part})" in {digest}*) mv {part} {final};; *) rm -f {part}; echo damaged;; esac"""
        if self._run(check).strip():
            raise MachineError(f"{self.where}: {file.name} arrived damaged and was removed; send it again")

    def _append(self, file: Path, part: str, *, offset: int) -> None:
        with file.open("rb") as stream:
            stream.seek(offset)
            try:
                self._run(f"cat >> {part}", stdin=stream.fileno())
            except MachineError as error:
                if "No space left" in str(error):
                    self._run(f"rm -f {part}")
                    raise MachineError(f"{self.where}: the disk is full; free {file.stat().st_size:,} bytes") from error
                raise

    def _run(self, script: str, *, stdin: int = subprocess.DEVNULL) -> str:
        """Run a shell script on the device and return its output.

        Raises:
            ConnectionLost: the connection failed.
            MachineError: the script failed.
        """
        done = lifetime.run([*self._command, script], stdin=stdin)
        if done.returncode == 0:
            return done.stdout
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]
        kind = ConnectionLost if done.returncode < 0 or self.lost(done.returncode, said) else MachineError
        raise kind(f"{self.where}: {said}")

    def fetch(self, path: str, to: Path) -> None:
        """Copy the file `path` from the device to `to`."""
        with to.open("wb") as stream:
            done = lifetime.run([*self._command, f"cat {shlex.quote(path)}"], stdout=stream)
        if done.returncode:
            raise MachineError(f"{self.where}: {done.stderr.strip()[-300:]}")

    def start(self) -> AbstractContextManager[Runner]:
        """Start the runner on the device; it is started again when the connection was lost."""
        script = self.send(shipped("deploy") / "runner" / "measure.py")
        command = [*self._command, f"{self.environment()}exec {self._python} {shlex.quote(script)} serve"]

        def connect() -> ProcessRunner:
            self.reach()
            return ProcessRunner(command, where=self.where)

        return ReconnectingRunner(connect, tries=_CONNECTIONS, pause_s=_PAUSE_S)

    def environment(self) -> str:
        """Return assignments before the runner's command."""
        return ""

    def reach(self) -> None:  # noqa: B027  (most need nothing)
        """Prepare a connection."""

    def remove(self) -> None:
        """Remove all files from the device; a device that is no longer reachable keeps them, with a warning."""
        try:
            self._run(f"rm -rf {shlex.quote(self._folder)}")
        except MachineError as error:
            progress.note(f"{self.where}: could not remove {self._folder} there: {error}")
