"""`edgeopt profile` as a shell meets it: budgets, accuracy budgets, the page, what continuous integration reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import edgeopt_here


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_missed_budget_ends_with_1_and_json_on_stdout(small: Path) -> None:
    arguments = ("profile", "model.onnx", "--seconds", "1", "--format", "json", "--target", "x86-avx2", "-q", "--budget")
    missed = edgeopt_here(*arguments, "size_bytes<=10")
    assert missed.returncode == 1, missed.stderr
    facts = json.loads(missed.stdout)
    assert [budget["verdict"] for budget in facts["budgets"]] == ["fail"]
    met = edgeopt_here(*arguments, "size_bytes<=100000")
    assert met.returncode == 0, met.stderr
    assert [budget["verdict"] for budget in json.loads(met.stdout)["budgets"]] == ["pass"]


def test_a_lost_accuracy_fails_the_budget_and_the_page_says_so(labelled: Path) -> None:
    budget = ("--budget", "accuracy_drop<=0.5", "--evaluate", "labelled.npz")
    result = edgeopt_here("profile", "good.onnx", "bad.onnx", *budget, "--seconds", "0.5", "--report", "page")
    assert result.returncode == 1, result.stderr
    assert "fail: bad: accuracy_drop<=0.5: 100 points on 40 samples (40 lost, 0 gained)" in result.stdout
    page = json.loads((labelled / "page" / "report.json").read_text(encoding="utf-8"))
    assert page["verdict"]["state"] == "fail"
    assert "accuracy_drop<=0.5 for bad is missed" in page["verdict"]["sentence"]
    assert "page/report.html" in result.stderr


def test_impossible_labels_are_an_error_and_accuracies_stand_beside_drops(labelled: Path) -> None:
    stored = np.load(labelled / "labelled.npz")
    np.savez(labelled / "wrong.npz", x=stored["x"], labels=stored["labels"] + 100)
    budget = ("--budget", "accuracy_drop<=0.5", "--seconds", "0.3", "--evaluate")
    result = edgeopt_here("profile", "good.onnx", "bad.onnx", *budget, "wrong.npz")
    assert result.returncode == 2
    assert "good: accuracy: labels from 100 to 103 are impossible for a model of 4 classes" in result.stderr
    result = edgeopt_here("profile", "good.onnx", "bad.onnx", *budget, "labelled.npz")
    assert "from 100.00 to 0.00 %" in result.stdout
    assert "accuracy of good: 100.00 % of 40 samples\naccuracy of bad: 0.00 % of 40 samples" in result.stderr


def test_an_accuracy_budget_without_labels_says_what_is_missing(labelled: Path) -> None:
    np.savez(labelled / "plain.npz", x=np.ones((4, 4), np.float32))
    result = edgeopt_here("profile", "good.onnx", "--budget", "accuracy_drop<=0.5", "--evaluate", "plain.npz")
    assert result.returncode == 2
    assert "labels" in result.stderr


@pytest.mark.parametrize("form", ["junit", "github"])
def test_an_accuracy_budget_reaches_continuous_integration(labelled: Path, form: str) -> None:
    budget = ("--budget", "accuracy_drop<=0.5", "--evaluate", "labelled.npz", "--format", form)
    result = edgeopt_here("profile", "good.onnx", "bad.onnx", *budget, "--seconds", "0.3")
    assert result.returncode == 1
    assert {"junit": 'failures="1"', "github": "::error title="}[form] in result.stdout


@pytest.mark.parametrize(("undecided", "code"), [((), 1), (("--undecided", "fail"), 1), (("--undecided", "pass"), 0)])
def test_an_accuracy_budget_without_data_is_undecided_and_fails_unless_told(
    undecided: tuple[str, ...], code: int, labelled: Path
) -> None:
    arguments = ("good.onnx", "bad.onnx", "--budget", "accuracy_drop<=0.5", "--seconds", "0.5", "-q", *undecided)
    result = edgeopt_here("profile", *arguments)
    assert (result.returncode, "undecided: bad: accuracy_drop<=0.5" in result.stdout) == (code, True), result.stderr
    assert ("--undecided pass lets it through" in result.stderr) == bool(code)


def test_undecided_counts_as_one_of_two_things(labelled: Path) -> None:
    result = edgeopt_here("profile", "good.onnx", "--undecided", "maybe")
    assert result.returncode == 2 and "--undecided maybe: choose pass or fail" in result.stderr
