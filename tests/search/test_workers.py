from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from edgeopt import lifetime
from edgeopt.search import workers
from edgeopt.search.trial import Spec, TrialResult
from edgeopt.search.workers import Task, Workers

_QUICK = """
import json, pathlib, sys
result = {"figures": {"p50_ms": 1.0}, "metric": 0.5}
pathlib.Path(sys.argv[1]).with_name("result.json").write_text(json.dumps(result))
"""


def _tasks(folder: Path, count: int) -> list[Task]:
    return [Task(folder / str(number), Spec({}, "", "")) for number in range(count)]


def _commands(monkeypatch: pytest.MonkeyPatch, code: str) -> list[float]:
    """Let trials run `code`; return the moments at which they start."""
    started: list[float] = []
    real = lifetime.start

    def start(command: list[str], **how: object):  # type: ignore[no-untyped-def]
        started.append(time.monotonic())
        return real([sys.executable, "-c", code, command[-1]], **how)

    monkeypatch.setattr(workers.lifetime, "start", start)
    return started


def test_results_come_with_their_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _commands(monkeypatch, _QUICK)
    found = dict(Workers(2, time.monotonic() + 60).run(_tasks(tmp_path, 3)))
    assert found == dict.fromkeys(range(3), TrialResult({"p50_ms": 1.0}, 0.5))


def test_a_process_that_dies_is_a_failure_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _commands(monkeypatch, "raise SystemExit('the target went away')")
    ((_, result),) = Workers(1, time.monotonic() + 60).run(_tasks(tmp_path, 1))
    assert result.error == "the process ended with code 1: the target went away"


def test_the_time_holds_and_what_runs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = _commands(monkeypatch, "import time; time.sleep(60)")
    began = time.monotonic()
    found = dict(Workers(2, began + 1.0).run(_tasks(tmp_path, 3)))
    assert time.monotonic() - began < 15
    assert len(started) == 2 and all(result.unfinished for result in found.values()) and len(found) == 3


def test_a_module_of_the_current_folder_does_not_run_in_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pydantic.py").write_text("from pathlib import Path; Path('ran').touch()", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ((_, result),) = Workers(1, time.monotonic() + 60).run(_tasks(tmp_path, 1))
    assert "trial: key 'name' is missing" in result.error and not (tmp_path / "ran").exists()
