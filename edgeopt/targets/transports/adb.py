"""A phone or board reached by adb, the Android Debug Bridge: over USB or, where the serial is HOST:PORT, over the network.

Only `adb shell` is used, with the second version of its protocol (Android 7 or later), which carries binary input and exit
statuses; adb's own server keeps the connection. See `shell` for copying files and for lost connections.

The device needs a Python with numpy and onnxruntime that adb's shell user may run: boards with Linux and an adbd can have one
like any computer; on phones Termux' Python is private to its app, unless it is a debuggable build (``launcher = ["run-as",
"com.termux"]``), so a phone with Termux' sshd is better reached over ssh.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from edgeopt import lifetime
from edgeopt.errors import MachineError
from edgeopt.targets.runner import ConnectionLost
from edgeopt.targets.target import Device, Target
from edgeopt.targets.transports.shell import ShellDevice

_FOLDER = "/data/local/tmp"  # what adb's shell user may write on every Android
_PROBE = 7
_PATIENCE_S = 20.0
_OLD = "its adbd does not report exit statuses, as Android 7 and later do"


def find_adb() -> str | None:
    """Return the path of adb's client, None if it is not installed."""
    return shutil.which("adb")


class Adb(ShellDevice):
    """A device that adb's server knows by its serial, or the only one there is."""

    def __init__(self, adb: str, device: Device, *, folder: str) -> None:
        self._adb = [adb, *(["-s", device.host] if device.host else [])]
        self._serial = device.host
        python = shlex.join([*device.launcher, device.python or "python3"])
        where = f"adb {device.host}" if device.host else "the device on adb"
        super().__init__([*self._adb, "shell", "-T"], where=where, python=python, folder=folder)

    def lost(self, status: int, said: str) -> bool:
        """Return whether adb itself failed: it exits with 1 and a message, or without one if the connection was lost."""
        return status == 1 and said.startswith(("error: ", "adb: ", "exit status 1"))

    def environment(self) -> str:
        """Set the folder for temporary files: Android has no /tmp."""
        return f"TMPDIR={shlex.quote(self._folder)} "

    def reach(self) -> None:
        """Let adb's server connect to a device on the network.

        Raises:
            ConnectionLost: it does not reply.
        """
        if self._serial and ":" in self._serial:
            command = [self._adb[0], "connect", self._serial]
            try:
                done = lifetime.run(command, timeout_s=_PATIENCE_S)
            except subprocess.TimeoutExpired as error:
                raise ConnectionLost(f"{self.where}: adb connect: no reply within {_PATIENCE_S:.0f} s") from error
            if not done.stdout.startswith(("connected", "already connected")):
                raise ConnectionLost(f"{self.where}: {(done.stdout + done.stderr).strip()[:300]}")

    def probe(self) -> None:
        """Check that the device replies and reports exit statuses.

        Raises:
            MachineError: it does not.
        """
        self.reach()
        command = [*self._command, f"exit {_PROBE}"]
        done = lifetime.run(command)
        if done.returncode != _PROBE:
            said = (done.stderr.strip().splitlines() or [_OLD])[-1].removeprefix("error: ").removeprefix("adb: ")
            raise MachineError(f"{self.where}: {said[:300]}; check the list of 'adb devices'")


@contextmanager
def connect(target: Target) -> Iterator[Adb]:
    """Connect to the target's device; files on it are removed at the end unless the target has `keep`."""
    device, adb = target.device, find_adb()
    if adb is None:
        raise MachineError(f"target '{target.name}' needs adb, which is not installed here (Debian: apt install adb)")
    name = ".edgeopt-device" if device.keep else f".edgeopt-device-{uuid.uuid4().hex[:12]}"
    there = Adb(adb, device, folder=f"{device.folder or _FOLDER}/{name}")
    there.probe()
    try:
        yield there
    finally:
        if not device.keep:
            there.remove()
