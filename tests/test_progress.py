"""Progress reaches the listener of the block, and none outside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgeopt import progress


class Recorder:
    def __init__(self) -> None:
        self.seen: list[object] = []

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[progress.Advance]:
        self.seen.append((description, total))

        def advance(units: int = 1) -> None:
            self.seen.append(units)

        yield advance
        self.seen.append("end")

    def note(self, message: str) -> None:
        self.seen.append(message)


def test_tasks_and_notes_reach_the_listener() -> None:
    recorder = Recorder()
    with progress.listen(recorder), progress.task("calibrate", total=3) as advance:
        advance()
        advance(2)
        progress.note("half")
    assert recorder.seen == [("calibrate", 3), 1, 2, "half", "end"]


def test_an_inner_listener_hides_the_outer_one_until_it_ends() -> None:
    outer, inner = Recorder(), Recorder()
    with progress.listen(outer):
        with progress.listen(inner):
            progress.note("inside")
        progress.note("after")
    progress.note("no listener")
    assert (outer.seen, inner.seen) == (["after"], ["inside"])


def test_without_a_listener_work_goes_on() -> None:
    with progress.task("silent") as advance:
        advance(5)
