"""This machine: the runner is a child process of this or the target's interpreter; files are not copied."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeopt._folders import shipped
from edgeopt.targets.environments import python_of
from edgeopt.targets.runner import ProcessRunner, Runner
from edgeopt.targets.target import Target


class Local:
    """A Python interpreter on this machine."""

    def __init__(self, command: list[str], where: str) -> None:
        self._command = command
        self.where = where

    def send(self, path: Path) -> str:
        """Return `path`: files are not copied."""
        return str(Path(path).resolve())

    def fetch(self, path: str, to: Path) -> None:
        """Copy the file `path`, which the runner wrote, to `to`."""
        shutil.copyfile(path, to)

    def start(self) -> AbstractContextManager[Runner]:
        """Start the runner in a child process."""
        return ProcessRunner([*self._command, str(shipped("deploy") / "runner" / "measure.py"), "serve"], where=self.where)


def this_machine() -> Local:
    """Return this machine, measured through this interpreter."""
    return Local([sys.executable], "this machine")


def command_of(target: Target) -> tuple[list[str], str]:
    """Return the launcher and the interpreter of a target on this machine."""
    device = target.device
    own = str(python_of(target)) if device.environment and not device.python else sys.executable
    return [_home(part) for part in device.launcher], _home(device.python) if device.python else own


@contextmanager
def connect(target: Target) -> Iterator[Local]:
    """Connect to this machine, with the target's interpreter and launcher if it has them."""
    launcher, python = command_of(target)
    if not launcher and python == sys.executable:
        yield this_machine()
    else:
        yield Local([*launcher, python], f"this machine ({' '.join([*launcher[:1], python])})")


def _home(part: str) -> str:
    return str(Path(part).expanduser()) if part.startswith("~") else part
