"""The line to a runner: errors mapped to who must act, and every way a runner can go away."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeopt.errors import InternalError, MachineError, ModelError
from edgeopt.targets.runner import ConnectionLost, ProcessRunner, greet


def _stub(code: str) -> ProcessRunner:
    return ProcessRunner([sys.executable, "-c", code], where="the stub")


@pytest.mark.parametrize(
    ("kind", "error"), [("model", ModelError), ("machine", MachineError), ("request", InternalError), ("fault", InternalError)]
)
def test_errors_are_mapped(kind: str, error: type[Exception]) -> None:
    reply = f'{{"error": {{"kind": "{kind}", "message": "because"}}}}'
    with _stub(f"input(); print('{reply}')") as runner, pytest.raises(error, match="because"):
        runner.ask({"do": "x"})


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit('no such module')", "no such module"),
        ("input(); import os; os.kill(os.getpid(), 9)", "exit status -9"),
        ("input(); print('warming up…')", "it answered"),
        ("import sys; sys.stdin.close(); sys.stdout.close()", "went away"),
    ],
)
def test_a_runner_that_goes_away_is_noticed_and_its_last_words_kept(code: str, says: str) -> None:
    with _stub(code) as runner, pytest.raises(ConnectionLost, match=says):
        runner.ask({"do": "x"})


def test_a_runner_that_does_not_answer_is_ended() -> None:
    with _stub("import time; time.sleep(60)") as runner:
        with pytest.raises(ConnectionLost, match="no answer within 0 s"):
            runner.ask({"do": "x"}, timeout_s=0.2)
        assert runner._process.returncode is not None


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot start"):
        ProcessRunner([str(tmp_path / "python")], where="the stub")


def test_another_protocol_is_refused() -> None:
    with _stub("""input(); print('{"ok": {"protocol": 99}}')""") as runner, pytest.raises(MachineError, match="protocol 99"):
        greet(runner, where="the stub")
