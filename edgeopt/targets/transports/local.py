"""This machine: the runner in a child interpreter of its own, files where they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeopt._folders import shipped
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

    def start(self) -> AbstractContextManager[Runner]:
        """Start the runner in a child process."""
        return ProcessRunner([self._python, str(shipped("deploy") / "runner" / "measure.py"), "serve"], where=self.where)


@contextmanager
def connect(target: Target) -> Iterator[Local]:  # noqa: ARG001
    """Reach this machine."""
    yield Local(sys.executable, "this machine")
