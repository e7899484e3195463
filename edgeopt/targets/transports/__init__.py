"""How a device is reached. A transport is one file here and one line in `connect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from edgeopt.targets.runner import Runner
from edgeopt.targets.target import Target


class Connection(Protocol):
    """A device that can be measured on: it takes files and has runners started."""

    where: str
    """What messages call it."""

    def send(self, path: Path) -> str:
        """Put the file at `path`, and the external data an ONNX file refers to, there; return its path there."""
        ...

    def fetch(self, path: str, to: Path) -> None:
        """Copy the file `path` from there to `to`."""
        ...

    def start(self) -> AbstractContextManager[Runner]:
        """Start a runner there."""
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
    """Reach the device of `target`; what was put there goes away at the end.

    Raises:
        MachineError: it cannot be reached.
    """
    home = import_module(_HOMES[target.device.transport])
    with home.connect(target) as connection:
        yield connection
