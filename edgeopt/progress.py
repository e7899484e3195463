"""Progress of long work. A stage reports what it does; the caller chooses a listener (a bar, plain lines, none).

    with progress.task("calibrate", total=len(samples)) as advance:
        for sample in samples:
            ...
            advance()

The command line installs a listener with `listen`; from Python nothing is shown unless the caller does the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol


class Advance(Protocol):
    """Moves a task forward."""

    def __call__(self, units: int = 1, *, detail: str = "") -> None:
        """Report that `units` more are done; `detail` is shown beside the task (empty: what was shown before)."""


class Listener(Protocol):
    """Shows progress; all text goes to stderr, never to stdout."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a task of `total` units (None: unknown) and yield the function that advances it."""
        ...

    def note(self, message: str) -> None:
        """Show one line that is not a task."""
        ...


class Silent:
    """The listener that shows nothing."""

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG002
        """Yield an `advance` that does nothing."""
        yield _stay

    def note(self, message: str) -> None:
        """Drop the message."""


def _stay(units: int = 1, *, detail: str = "") -> None:
    pass


_SILENT = Silent()
_listener: ContextVar[Listener] = ContextVar("edgeopt_progress_listener", default=_SILENT)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Send all progress inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def task(description: str, *, total: int | None = None) -> Iterator[Advance]:
    """Announce a task of `total` units (None: unknown); call the yielded ``advance()`` as they are done."""
    with _listener.get().task(description, total) as advance:
        yield advance


def note(message: str) -> None:
    """Show one line to the listener."""
    _listener.get().note(message)
