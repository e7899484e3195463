"""Transports: how a device is reached. A transport is one file here and one line in `connect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from edgeopt.targets.runner import Runner
from edgeopt.targets.target import Target


class Connection(Protocol):
    """A connected device: it stores files and starts runners."""

    where: str
    """Name of the device in messages."""

    def send(self, path: Path) -> str:
        """Copy the file at `path`, with an ONNX file's external data, to the device; return its path there."""
        ...

    def fetch(self, path: str, to: Path) -> None:
        """Copy the file `path` from the device to `to`."""
        ...

    def start(self) -> AbstractContextManager[Runner]:
        """Start a runner on the device."""
        ...


_HOMES: Mapping[str, str] = {
    "local": "edgeopt.targets.transports.local",
    "ssh": "edgeopt.targets.transports.ssh",
    "adb": "edgeopt.targets.transports.adb",
    "browser": "edgeopt.targets.transports.browser",
    "node": "edgeopt.targets.transports.node",
}


@contextmanager
def connect(target: Target) -> Iterator[Connection]:
    """Connect to the device of `target`; files on it are removed at the end.

    Raises:
        MachineError: it cannot be reached.
    """
    home = import_module(_HOMES[target.device.transport])
    with home.connect(target) as connection:
        yield connection
