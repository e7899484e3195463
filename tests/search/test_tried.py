from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from edgeopt.files import write_json
from edgeopt.search.rounds import Rung
from edgeopt.search.study import Candidate
from edgeopt.search.trial import Spec, TrialResult, write_spec
from edgeopt.search.tried import Tried, earlier_result, worst
from edgeopt.search.workers import Task


def test_a_result_counts_once_every_target_has_one_and_is_that_of_the_worst() -> None:
    item = Tried(Candidate(3, {}))
    item.take(Rung.SHORT, "a", TrialResult({"p50_ms": 1.0, "size_bytes": 9.0}, 0.9, "accuracy"), of=2)
    assert not item.results
    item.take(Rung.SHORT, "b", TrialResult({"p50_ms": 4.0, "size_bytes": 8.0}, 0.8, "accuracy"), of=2)
    assert item.best == TrialResult({"p50_ms": 4.0, "size_bytes": 9.0}, 0.8, "accuracy")
    assert item.trained == item.measured == Rung.SHORT
    item.results[Rung.FULL] = item.results[Rung.FINAL] = item.best
    assert (item.trained, item.measured) == (Rung.FULL, Rung.FINAL)


def test_a_final_measurement_that_gave_no_time_does_not_count() -> None:
    item = Tried(Candidate(3, {}))
    item.take(Rung.FULL, "a", TrialResult({"p50_ms": 1.0, "size_bytes": 9.0}, 0.9, "accuracy"), of=1)
    item.take(Rung.FINAL, "a", TrialResult({"size_bytes": 9.0}, 0.9, "accuracy"), of=1)
    assert (item.measured, item.best.figures["p50_ms"]) == (Rung.FULL, 1.0)


def test_an_earlier_result_is_that_of_the_same_task(tmp_path: Path) -> None:
    task = Task(tmp_path, Spec({"seed": 1}, "run", "store"))
    assert earlier_result(task) is None
    write_spec(tmp_path / "spec.json", task.spec)
    assert earlier_result(task) is None  # it was killed before it had one
    write_json(tmp_path / "result.json", asdict(TrialResult({}, 0.5)))
    assert earlier_result(task) == TrialResult({}, 0.5)
    assert earlier_result(Task(tmp_path, Spec({"seed": 2}, "run", "store"))) is None


def test_the_worst_error_rate_of_several_targets_is_the_highest() -> None:
    found = worst([TrialResult({}, rate, "WER", merit=-rate) for rate in (0.1, 0.3)])
    assert (found.metric, found.rank) == (0.3, -0.3)
