"""Evaluations compared with earlier ones, in pairs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.evaluate.became_worse import StoredEvaluation, compare_evaluations, is_evaluation, read_evaluation, stored
from edgeopt.evaluate.stage import Evaluation, ModelScore, Units, evaluate
from edgeopt.tasks.metric import Metric, of_sums
from tests.stages.conftest import write_linear


def stored_right(right: str, *, name: str = "a", data: str = "d") -> StoredEvaluation:
    score = ModelScore(
        name, "accuracy", right.count("1") / len(right), None, None, None, None, None, None, {}, Units(True, right)
    )
    return stored(Evaluation("single-label-classification", True, len(right), 0.95, (score,), (), data), 0)


def test_answers_that_were_right_and_are_wrong_now_are_a_regression() -> None:
    before, worse = "1" * 80 + "0" * 20, "0" * 10 + "1" * 70 + "0" * 20
    found = compare_evaluations(stored_right(before), stored_right(worse))
    assert (found.verdict, found.changes[0].finding) == ("fail", "regression")
    assert "10 answers lost, 0 gained of 100" in found.changes[0].reason
    assert compare_evaluations(stored_right(worse), stored_right(before)).changes[0].finding == "improvement"
    moved = "0" * 3 + "1" * 77 + "1" * 2 + "0" * 18
    assert compare_evaluations(stored_right(before), stored_right(moved)).changes[0].finding == "same"


def test_other_samples_are_not_paired_and_undecided() -> None:
    found = compare_evaluations(stored_right("1100"), stored_right("0000", data="other"))
    assert (found.verdict, found.changes[0].finding) == ("undecided", "undecided")
    assert found.notes == ["the samples differ (4 then, 4 now): nothing is paired"]


def test_a_metric_that_is_better_when_smaller_is_compared_by_its_draws() -> None:
    wer = Metric("WER", larger_is_better=False)
    errors = np.stack([np.arange(60) % 3, np.full(60, 10)], axis=1).astype(float)

    def of(values: np.ndarray) -> StoredEvaluation:
        measured = of_sums(wer, values, lambda sums: float(sums[0] / sums[1]))
        score = ModelScore("a", "WER", measured.value, None, None, None, None, None, None, {}, Units.of(measured))
        return stored(Evaluation("ctc", True, 60, 0.95, (score,), (), "d"), 0)

    more = errors + np.array([1.0, 0.0])
    assert compare_evaluations(of(errors), of(more)).changes[0].finding == "regression"
    assert compare_evaluations(of(more), of(errors)).changes[0].finding == "improvement"
    assert compare_evaluations(of(errors), of(errors)).changes[0].finding == "same"


def test_models_are_matched_by_name_or_alone() -> None:
    with pytest.raises(DataError, match="share no model: a, b against c"):
        two = stored_right("10")
        compare_evaluations(
            two.model_copy(update={"models": [*two.models, *stored_right("10", name="b").models]}), stored_right("10", name="c")
        )
    assert compare_evaluations(stored_right("10", name="old"), stored_right("10", name="new")).changes[0].variant == "new"
    with pytest.raises(DataError, match="different tasks"):
        compare_evaluations(stored_right("10"), stored_right("10").model_copy(update={"task": "ctc"}))


def test_what_was_evaluated_apart_compares_as_what_was_evaluated_together(tmp_path: Path) -> None:
    first, second = np.eye(4), np.eye(4)[[1, 0, 2, 3]]
    paths = [write_linear(tmp_path / name, weights) for name, weights in (("a.onnx", first), ("b.onnx", second))]
    np.savez(tmp_path / "rows.npz", x=np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 5], labels=np.array([0, 1, 2, 3] * 5))
    apart = []
    for path in paths:
        found = evaluate([path], str(tmp_path / "rows.npz"))
        file = tmp_path / f"{path.stem}.json"
        file.write_text(json.dumps(asdict(found)), encoding="utf-8")
        assert is_evaluation(file)
        apart.append(read_evaluation(file))
    together = evaluate(paths, str(tmp_path / "rows.npz"))
    change = compare_evaluations(*apart).changes[0]
    difference = together.models[1].paired
    assert difference is not None
    assert change.finding == "regression"
    assert change.reason.startswith(
        f"{difference.difference:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}), 10 answers lost"
    )


@pytest.mark.parametrize(
    ("text", "said"), [("[]", "not an evaluation"), ("{", "x.json"), ('{"task": "ctc", "samples": 3}', "models")]
)
def test_files_that_are_none_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_evaluation(tmp_path / "x.json")


def test_draws_without_a_number_are_undecided() -> None:
    units = {"larger_is_better": True, "drawn": [float("nan")]}
    values = {"task": "t", "samples": 1, "models": [{"name": "a", "metric": "AP", "value": 0.5, "units": units}]}
    one = StoredEvaluation.model_validate(values)
    assert compare_evaluations(one, one).changes[0].finding == "undecided"
