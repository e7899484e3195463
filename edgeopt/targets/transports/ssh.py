"""Another machine, reached by OpenSSH's own client: the user's configuration, keys and jump hosts hold.

Everything lies in one folder over there. A file is sent once: it is kept by its hash, an interrupted copy goes on where it
stopped, and it gets its name only after its hash was checked over there. All commands share one line (ControlMaster). The
far side needs a POSIX shell, `sha256sum`, `wc`, `tail` and a Python with numpy and onnxruntime. When the line is cut the
runner over there ends by itself (end of file), and `start` connects again, opens what was open and asks again.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeopt import progress
from edgeopt._folders import shipped
from edgeopt.errors import MachineError, RecipeError
from edgeopt.files import sha256
from edgeopt.models.onnx_file import external_files
from edgeopt.targets.reconnect import ReconnectingRunner
from edgeopt.targets.runner import ConnectionLost, ProcessRunner, Runner
from edgeopt.targets.target import Device, Target

_TRIES = 4
_CONNECTIONS = 7  # with pauses of 1, 2, 4 … s: a minute, in which most boards boot
_PAUSE_S = 1.0
_LINE_FAILED = 255  # ssh's own exit status when the connection, not the command, failed
_OPTIONS = ("-T", "-oBatchMode=yes", "-oConnectTimeout=10", "-oServerAliveInterval=5", "-oServerAliveCountMax=3")


class Ssh:
    """A machine at the end of an ssh connection."""

    def __init__(self, device: Device, host: str, *, folder: str, control: Path) -> None:
        sharing = ["-oControlMaster=auto", f"-oControlPath={control / 'line'}", "-oControlPersist=60"]
        self._line = ["ssh", *_OPTIONS, *sharing, *device.ssh_options]
        self._command = [*self._line, host]
        self._python = device.python or "python3"
        self._folder = folder
        self.where = host

    def send(self, path: Path) -> str:
        """Copy `path` and its external data, unless they are there, and return the path there."""
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
            state = self._run(ask).strip()
            if state == "there":
                return
            try:
                self._append(file, part, offset=min(int(state), size))
                break
            except ConnectionLost:
                if attempt == _TRIES - 1:
                    raise
                progress.note(f"{self.where}: the line was cut; going on with {file.name}")
                time.sleep(_PAUSE_S)
        check = f"""case "$(sha256sum < {part})" in {digest}*) mv {part} {final};; *) rm -f {part}; echo damaged;; esac"""
        if self._run(check).strip():
            raise MachineError(f"{self.where}: {file.name} arrived damaged; it was removed there, send it again")

    def _append(self, file: Path, part: str, *, offset: int) -> None:
        with file.open("rb") as stream:
            stream.seek(offset)
            try:
                self._run(f"cat >> {part}", stdin=stream.fileno())
            except MachineError as error:
                if "No space left" in str(error):
                    self._run(f"rm -f {part}")
                    raise MachineError(f"{self.where}: the disk is full there; free {file.stat().st_size:,} bytes") from error
                raise

    def _run(self, script: str, *, stdin: int = subprocess.DEVNULL) -> str:
        """Run a shell script there and return what it printed.

        Raises:
            ConnectionLost: the line failed.
            MachineError: the script did.
        """
        done = subprocess.run([*self._command, script], stdin=stdin, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]
        kind = ConnectionLost if done.returncode == _LINE_FAILED or done.returncode < 0 else MachineError
        raise kind(f"{self.where}: {said}")

    def fetch(self, path: str, to: Path) -> None:
        """Copy the file `path` from there to `to`."""
        with to.open("wb") as stream:
            done = subprocess.run(
                [*self._command, f"cat {shlex.quote(path)}"], stdout=stream, stderr=subprocess.PIPE, check=False
            )
        if done.returncode:
            raise MachineError(f"{self.where}: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")

    def start(self) -> AbstractContextManager[Runner]:
        """Start the runner there; it is started again when the line was cut."""
        script = self.send(shipped("deploy") / "runner" / "measure.py")
        command = [*self._command, f"exec {shlex.quote(self._python)} {shlex.quote(script)} serve"]
        return ReconnectingRunner(lambda: ProcessRunner(command, where=self.where), tries=_CONNECTIONS, pause_s=_PAUSE_S)

    def remove(self) -> None:
        """Remove everything that was put there."""
        self._run(f"rm -rf {shlex.quote(self._folder)}")

    def hang_up(self) -> None:
        """End the line that all commands shared."""
        subprocess.run([*self._line, "-O", "exit", self.where], capture_output=True, check=False)


@contextmanager
def connect(target: Target) -> Iterator[Ssh]:
    """Reach the target's host; what was put there goes away at the end unless the target says to keep it."""
    device = target.device
    if not device.host:
        raise RecipeError(f"target '{target.name}': transport ssh needs the key 'device.host'; add it")
    folder = ".edgeopt-device" if device.keep else f".edgeopt-device-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory(prefix="edgeopt-ssh-") as control:
        there = Ssh(device, device.host, folder=folder, control=Path(control))
        try:
            yield there
        finally:
            if not device.keep:
                _remove(there, folder)
            there.hang_up()


def _remove(there: Ssh, folder: str) -> None:
    try:
        there.remove()
    except MachineError as error:
        progress.note(f"{there.where}: could not remove {folder} there: {error}")
