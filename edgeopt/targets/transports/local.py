"""This machine: the runner in a child interpreter of its own (this one, or the target's), files where they are."""

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

    def __init__(self, python: str, where: str) -> None:
        self._python = python
        self.where = where

    def send(self, path: Path) -> str:
        """Return the path itself: the file is there already."""
        return str(Path(path).resolve())

    def fetch(self, path: str, to: Path) -> None:
        """Copy the file `path`, which the runner wrote, to `to`."""
        shutil.copyfile(path, to)

    def start(self) -> AbstractContextManager[Runner]:
        """Start the runner in a child process."""
        return ProcessRunner([self._python, str(shipped("deploy") / "runner" / "measure.py"), "serve"], where=self.where)


@contextmanager
def connect(target: Target) -> Iterator[Local]:
    """Reach this machine, through the target's own interpreter if it has one."""
    if target.device.python:
        python = str(Path(target.device.python).expanduser())
    else:
        python = str(python_of(target)) if target.device.environment else sys.executable
    yield Local(python, "this machine" if python == sys.executable else f"this machine ({python})")
