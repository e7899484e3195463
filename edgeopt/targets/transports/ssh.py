"""Another machine, reached by OpenSSH's own client with the user's configuration, keys and jump hosts.

All commands share one connection (ControlMaster). See `shell` for copying files and for lost connections.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeopt import lifetime
from edgeopt.errors import RecipeError
from edgeopt.targets.target import Device, Target
from edgeopt.targets.transports.shell import ShellDevice

_LINE_FAILED = 255  # ssh's own exit status when the connection, not the command, failed
_OPTIONS = ("-T", "-oBatchMode=yes", "-oConnectTimeout=10", "-oServerAliveInterval=5", "-oServerAliveCountMax=3")


class Ssh(ShellDevice):
    """A machine at the end of an ssh connection."""

    def __init__(self, device: Device, host: str, *, folder: str, control: Path) -> None:
        sharing = ["-oControlMaster=auto", f"-oControlPath={control / 'line'}", "-oControlPersist=60"]
        self._line = ["ssh", *_OPTIONS, *sharing, *device.ssh_options]
        python = shlex.join([*device.launcher, device.python or "python3"])
        super().__init__([*self._line, "--", host], where=host, python=python, folder=folder)

    def lost(self, status: int, said: str) -> bool:  # noqa: ARG002  (ssh's status says it all)
        """Return whether ssh itself failed."""
        return status == _LINE_FAILED

    def hang_up(self) -> None:
        """Close the shared connection."""
        lifetime.run([*self._line, "-O", "exit", "--", self.where])


@contextmanager
def connect(target: Target) -> Iterator[Ssh]:
    """Connect to the target's host; files on it are removed at the end unless the target has `keep`."""
    device = target.device
    if not device.host:
        raise RecipeError(f"target '{target.name}': transport ssh needs the key 'device.host'; add it")
    name = ".edgeopt-device" if device.keep else f".edgeopt-device-{uuid.uuid4().hex[:12]}"
    folder = f"{device.folder}/{name}" if device.folder else name
    with lifetime.temporary_folder("edgeopt-ssh-") as control:
        there = Ssh(device, device.host, folder=folder, control=control)
        try:
            yield there
        finally:
            if not device.keep:
                there.remove()
            there.hang_up()
