"""Progress on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from edgeopt import progress
from edgeopt.escaping import one_line
from edgeopt.progress import Advance

_LINE_SECONDS = 10.0


class Bars:
    """Bars and lines of a rich console on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
        )

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show a bar while the block runs; the bars of tasks around it stay."""
        self._progress.start()
        bar = self._progress.add_task(one_line(description), total=total, detail="")

        def advance(units: int = 1, *, detail: str = "") -> None:
            self._progress.advance(bar, units)
            if detail:
                self._progress.update(bar, detail=one_line(detail))

        try:
            yield advance
        finally:
            self._progress.remove_task(bar)
            if not self._progress.task_ids:
                self._progress.stop()

    def note(self, message: str) -> None:
        """Show one line above the bars."""
        self._progress.console.print(one_line(message), style="dim", markup=False, highlight=False, emoji=False)


class Lines:
    """Plain lines for logs: one line of progress every ten seconds."""

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Print the progress of the task at intervals."""
        done, first, began = 0, 0, time.monotonic()
        printed = began

        def advance(units: int = 1, *, detail: str = "") -> None:
            nonlocal done, printed, first
            done += units
            first = first or done  # (what was done before, where a training resumes, says nothing about the speed)
            now = time.monotonic()
            if now - printed >= _LINE_SECONDS:
                printed = now
                left = remaining(done - first, done, total, now - began)
                self.note(
                    f"  {description}: {done:,}{f' of {total:,}' if total else ''}{left}{f', {detail}' if detail else ''}"
                )

        yield advance

    def note(self, message: str) -> None:
        """Print the line."""
        sys.stderr.write(f"{one_line(message)}\n")
        sys.stderr.flush()


def remaining(measured: int, done: int, total: int | None, seconds: float) -> str:
    """Return ", 3 min left", judged by `measured` units in `seconds`; "" if that cannot be said."""
    if not total or measured <= 0 or done >= total:
        return ""
    left = seconds / measured * (total - done)
    return f", {left / 60:.0f} min left" if left >= 90 else f", {left:.0f} s left"


def shown(*, quiet: bool) -> AbstractContextManager[None]:
    """Show progress on stderr inside the block, unless `quiet`."""
    if quiet:
        return progress.listen(progress.Silent())
    console = Console(stderr=True)
    return progress.listen(Bars(console) if console.is_terminal else Lines())
