"""The runner's requests as functions: what is asked, and the type of what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgeopt.errors import MachineError, ModelError
from edgeopt.targets.replies import as_answer
from edgeopt.targets.requests import Duration, Sent, greet, run_in_fresh_process, time_alone, time_blocks

NOISE = {"wall_s": 0.1, "own_cpu_s": 0.1, "others_cores": None, "steal_share": None, "involuntary_switches": 0}
STATE = dict.fromkeys(("frequency_mhz", "temperature_c", "throttle_events", "energy_uj"))
OPENED = {"load_ns": 1, "first_run_ns": 1, "batches": 1, "providers": ["P"], "call": "run"}


class Board:
    """A runner whose runs all take `run_ns`; it remembers what it was asked."""

    where = "the board"

    def __init__(self, run_ns: float = 1e6, **changes: Any) -> None:
        self.run_ns, self.changes = run_ns, changes
        self.asked: list[Mapping[str, Any]] = []
        self.patience: list[float] = []

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        self.asked.append(request)
        self.patience.append(timeout_s)
        blocks = [[name, [self.run_ns] * runs] for name, _, runs in request.get("blocks", ())]
        hello = {"protocol": 1, "versions": {}, "providers": [], "device": {}, "overhead_ns": 1.0}
        cold = {"load_ns": 2, "first_run_ns": 3, "before_rss_bytes": None, "peak_rss_bytes": None}
        answers = {"hello": hello, "open": OPENED, "sample": {"blocks": blocks, "noise": NOISE, "state": STATE}, "cold": cold}
        answer = {**answers.get(request["do"], {}), **self.changes.get(request["do"], {})}
        return as_answer(answer, request)

    def send(self, path: Path) -> str:
        return f"there/{path.name}"


def test_a_runner_of_another_protocol_is_refused() -> None:
    assert greet(Board(), where="the board").protocol == 1
    with pytest.raises(MachineError, match="the board: its runner speaks protocol 2, this edgeopt 1; copy it again"):
        greet(Board(hello={"protocol": 2}), where="the board")


def test_blocks_are_asked_for_as_they_are_and_come_back_by_name() -> None:
    board = Board(run_ns=5.0)
    timed = time_blocks(board, [("a", 0, 2), ("b", 4, 1)], limit_s=3.0)
    assert board.asked == [{"do": "sample", "blocks": [["a", 0, 2], ["b", 4, 1]], "limit_s": 3.0}]
    assert timed.blocks == [("a", [5.0, 5.0]), ("b", [5.0])]
    time_blocks(board, [("a", 0, 2)])
    assert "limit_s" not in board.asked[1]  # the runner has a limit of its own


def test_a_cold_start_is_waited_for_as_long_as_it_may_take() -> None:
    board = Board()
    started = run_in_fresh_process(board, Sent("m", "i", {"threads": 1}), seconds=0.5, limit_s=60.0, answer_s=30.0)
    assert (started.load_ns, started.first_run_ns) == (2, 3)
    expected = {"do": "cold", "seconds": 0.5, "limit_s": 60.0, "model": "m", "inputs": "i", "session": {"threads": 1}}
    assert board.asked == [expected] and board.patience == [90.0]


@pytest.mark.parametrize(("run_ns", "runs"), [(1e3, 40), (2e6, 25), (1e9, 9)])
def test_a_model_alone_runs_for_about_the_time_asked_for(run_ns: float, runs: int) -> None:
    board = Board(run_ns)
    files = (Path("m.onnx"), Path("in.npz"))
    times = time_alone(board, board, files, {"provider": "P"}, Duration(0.05, fewest=9, most=40))
    assert times == [run_ns] * runs
    assert [request["do"] for request in board.asked] == ["open", "sample", "sample", "close"]
    opened = board.asked[0]
    assert (opened["model"], opened["inputs"], opened["session"]) == ("there/m.onnx", "there/in.npz", {"provider": "P"})


def test_what_was_opened_is_closed_though_its_runs_fail() -> None:
    class Failing(Board):
        def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
            answer = super().ask(request, timeout_s=timeout_s)
            if request["do"] == "sample":
                raise ModelError("the model stopped")
            return answer

    board = Failing()
    with pytest.raises(ModelError, match="stopped"):
        time_alone(board, board, (Path("m"), Path("i")), {}, Duration(0.05, fewest=9, most=40))
    assert board.asked[-1] == {"do": "close", "name": "alone"}
