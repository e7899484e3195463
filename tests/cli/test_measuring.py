"""`profile --report`, `sweep`, `scenarios` and accuracy budgets, as a shell meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

GOOD = """
<ir_version: 10, opset_import: ["" : 20]>
good (float[batch, 4] x) => (float[batch, 4] y) { y = Relu(x) }
"""
BAD = GOOD.replace("y = Relu(x)", "y = Neg(x)").replace("good", "bad")  # always finds the least likely class


def edgeopt(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edgeopt", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("good", GOOD), ("bad", BAD)):
        onnx.save(parser.parse_model(text), tmp_path / f"{name}.onnx")
    labels = np.arange(40) % 4
    np.savez(tmp_path / "labelled.npz", x=np.eye(4, dtype=np.float32)[labels] + 0.1, labels=labels)
    return tmp_path


def test_a_lost_accuracy_fails_the_budget_and_the_page_says_so(folder: Path) -> None:
    budget = ("--budget", "accuracy_drop<=0.5", "--evaluate", "labelled.npz")
    result = edgeopt("profile", "good.onnx", "bad.onnx", *budget, "--seconds", "0.5", "--report", "page", cwd=folder)
    assert result.returncode == 1, result.stderr
    assert "fail: bad: accuracy_drop<=0.5: 100 points on 40 samples (40 lost, 0 gained)" in result.stdout
    page = json.loads((folder / "page" / "report.json").read_text(encoding="utf-8"))
    assert page["verdict"]["state"] == "fail"
    assert "accuracy_drop<=0.5 for bad is missed" in page["verdict"]["sentence"]
    assert "page/report.html" in result.stderr


def test_impossible_labels_are_an_error_and_accuracies_stand_beside_drops(folder: Path) -> None:
    stored = np.load(folder / "labelled.npz")
    np.savez(folder / "wrong.npz", x=stored["x"], labels=stored["labels"] + 100)
    budget = ("--budget", "accuracy_drop<=0.5", "--seconds", "0.3", "--evaluate")
    result = edgeopt("profile", "good.onnx", "bad.onnx", *budget, "wrong.npz", cwd=folder)
    assert result.returncode == 2
    assert "output 'y' of good: labels from 100 to 103 are impossible for a model of 4 classes" in result.stderr
    result = edgeopt("profile", "good.onnx", "bad.onnx", *budget, "labelled.npz", cwd=folder)
    assert "from 100.00 to 0.00 %" in result.stdout
    assert "accuracy of good: 100.00 % of 40 samples\naccuracy of bad: 0.00 % of 40 samples" in result.stderr


def test_an_accuracy_budget_without_labels_says_what_is_missing(folder: Path) -> None:
    np.savez(folder / "plain.npz", x=np.ones((4, 4), np.float32))
    result = edgeopt("profile", "good.onnx", "--budget", "accuracy_drop<=0.5", "--evaluate", "plain.npz", cwd=folder)
    assert result.returncode == 2
    assert "labels" in result.stderr


@pytest.mark.parametrize("form", ["junit", "github"])
def test_an_accuracy_budget_reaches_continuous_integration(folder: Path, form: str) -> None:
    budget = ("--budget", "accuracy_drop<=0.5", "--evaluate", "labelled.npz", "--format", form)
    result = edgeopt("profile", "good.onnx", "bad.onnx", *budget, "--seconds", "0.3", cwd=folder)
    assert result.returncode == 1
    assert {"junit": 'failures="1"', "github": "::error title="}[form] in result.stdout


def test_a_sweep_has_a_row_for_each_point(folder: Path) -> None:
    arguments = ("sweep", "good.onnx", "--threads", "1,2", "--batch", "1,4", "--seconds", "0.4")
    result = edgeopt(*arguments, "--format", "json", cwd=folder)
    assert result.returncode == 0, result.stderr
    points = json.loads(result.stdout)["points"]
    assert [(point["threads"], point["batch_size"]) for point in points] == [(1, 1), (1, 4), (2, 1), (2, 4)]


def test_scenarios_print_a_metric_each(folder: Path) -> None:
    result = edgeopt("scenarios", "good.onnx", "--seconds", "0.4", "--format", "markdown", cwd=folder)
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[1:]] == ["---", "single-stream", "multi-stream", "offline"]


@pytest.mark.parametrize(("undecided", "code"), [((), 1), (("--undecided", "fail"), 1), (("--undecided", "pass"), 0)])
def test_an_accuracy_budget_without_data_is_undecided_and_fails_unless_told(
    undecided: tuple[str, ...], code: int, folder: Path
) -> None:
    arguments = ("good.onnx", "bad.onnx", "--budget", "accuracy_drop<=0.5", "--seconds", "0.5", "-q", *undecided)
    result = edgeopt("profile", *arguments, cwd=folder)
    assert (result.returncode, "undecided: bad: accuracy_drop<=0.5" in result.stdout) == (code, True), result.stderr
    assert ("--undecided pass lets it through" in result.stderr) == bool(code)


def test_undecided_counts_as_one_of_two_things(folder: Path) -> None:
    result = edgeopt("profile", "good.onnx", "--undecided", "maybe", cwd=folder)
    assert result.returncode == 2 and "--undecided maybe: choose pass or fail" in result.stderr
