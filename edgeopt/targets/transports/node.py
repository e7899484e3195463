"""Node on this machine: a child process answers the requests with onnxruntime-node (``deploy/runner/measure-node.mjs``)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from edgeopt._folders import shipped
from edgeopt.errors import MachineError
from edgeopt.targets.environments import modules_of
from edgeopt.targets.runner import ProcessRunner, Runner
from edgeopt.targets.target import Target

_WHERE = "Node"


def find_node() -> str | None:
    """Return the path of Node, None if it is not installed."""
    return shutil.which("node")


class Node:
    """A Node process on this machine; files are not copied."""

    where = _WHERE

    def __init__(self, node: str, modules: Path) -> None:
        self._command = [node, str(shipped("deploy") / "runner" / "measure-node.mjs"), str(modules), "serve"]

    def send(self, path: Path) -> str:
        """Return `path`: files are not copied."""
        return str(Path(path).resolve())

    def fetch(self, path: str, to: Path) -> None:
        """Raise an error: this runner writes no files."""
        raise MachineError(f"{path}: Node's runner writes no files, so {to.name} cannot be fetched")

    def start(self) -> AbstractContextManager[Runner]:
        """Start the runner in a child process."""
        return ProcessRunner(self._command, where=self.where)


@contextmanager
def connect(target: Target) -> Iterator[Node]:
    """Connect to Node on this machine."""
    node = find_node()
    if node is None:
        raise MachineError(f"target '{target.name}' needs Node, which is not installed here")
    yield Node(node, modules_of(target))
