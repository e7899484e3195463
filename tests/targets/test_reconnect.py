"""A runner that outlives its connection: what was open is opened again, and only a line that answered once is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edgeopt.targets.reconnect import ReconnectingRunner
from edgeopt.targets.runner import ConnectionLost

OPEN = {"do": "open", "name": "a", "model": "a.onnx"}
SAMPLE = {"do": "sample", "name": "a"}


class Line:
    """Connections that each answer that many requests and are then cut; all requests are kept."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []
        self.closed = 0
        self.left_by: type[BaseException] | None = None

    def connect(self) -> Any:
        self.asked.append([])
        return Connection(self, self.answers[len(self.asked) - 1])


class Connection:
    def __init__(self, line: Line, answers: int) -> None:
        self.line, self.left = line, answers

    def ask(self, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        if self.left == 0:
            raise ConnectionLost("the line was cut")
        self.left -= 1
        self.line.asked[-1].append(f"{request['do']} {request.get('name', '')}".strip())
        return {"answer": len(self.line.asked)}

    def close(self) -> None:
        self.line.closed += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.line.left_by = kind
        self.close()


def runner(line: Line, tries: int = 3) -> ReconnectingRunner:
    return ReconnectingRunner(line.connect, tries=tries, pause_s=0.0)


def test_after_a_cut_the_variants_are_opened_and_the_sample_is_warmed_up() -> None:
    line = Line(2, 9)
    asking = runner(line)
    asking.ask(OPEN)
    assert asking.ask(SAMPLE) == {"answer": 1}
    assert asking.ask(SAMPLE) == {"answer": 2}
    assert line.asked == [["open a", "sample a"], ["open a", "sample a", "sample a"]]
    assert (asking.cuts, line.closed) == (1, 1)


def test_a_line_that_never_answered_is_not_tried_again() -> None:
    line = Line(0, 9)
    with pytest.raises(ConnectionLost):
        runner(line).ask(OPEN)
    assert len(line.asked) == 1


def test_it_gives_up_after_the_tries_allowed() -> None:
    line = Line(1, 0, 0, 9)
    asking = runner(line)
    asking.ask(OPEN)
    with pytest.raises(ConnectionLost):
        asking.ask(SAMPLE)
    assert len(line.asked) == 3


def test_a_connection_learns_that_it_was_left_by_an_interrupt() -> None:
    """An interrupted command does not wait for what hangs at the other end (`ProcessRunner.__exit__`)."""
    line = Line(9)
    with pytest.raises(KeyboardInterrupt), runner(line):
        raise KeyboardInterrupt
    assert (line.left_by, line.closed) == (KeyboardInterrupt, 1)
