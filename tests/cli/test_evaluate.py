"""`edgeopt evaluate`: figures as JSON and as a table, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeopt.cli.evaluate import _show
from edgeopt.evaluate.stage import Evaluation, ModelScore
from tests.cli.conftest import edgeopt_here
from tests.stages.conftest import write_linear


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_linear(tmp_path / "a.onnx", np.eye(4))
    write_linear(tmp_path / "b.onnx", np.eye(4)[[1, 0, 2, 3]])
    np.savez(tmp_path / "rows.npz", x=np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 5], labels=np.array([0, 1, 2, 3] * 5))
    return tmp_path


def test_json_and_table(folder: Path) -> None:
    done = edgeopt_here("evaluate", "a.onnx", "b.onnx", "--data", "rows.npz", "--format", "json")
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["models"]
    assert [(model["name"], model["metric"], model["value"]) for model in models] == [
        ("a", "accuracy", 1.0),
        ("b", "accuracy", 0.5),
    ]
    assert models[1]["difference"]["difference"] == -0.5
    table = edgeopt_here("evaluate", "a.onnx", "b.onnx", "--data", "rows.npz")
    assert "-0.5000" in table.stdout
    assert "20 samples" in table.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.onnx", "--data", "none.npz"], "no such calibration data"),
        (["none.onnx", "--data", "rows.npz"], "no such model"),
        (["a.onnx", "--data", "rows.npz", "--task", "nonsense"], "task 'nonsense' is not known"),
        (
            ["a.onnx", "--data", "t.txt", "--task", "text-generation", "-t", "arm64", "--tokenizer", "a"],
            "--tokenizer, --target",
        ),
        (["a.onnx", "--data", "rows.npz", "--task", "token-classification"], "needs"),
    ],
)
def test_bad_input_is_one_line_and_code_2(folder: Path, arguments: list[str], said: str) -> None:
    done = edgeopt_here("evaluate", *arguments, "--quiet")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def rows(printed: str) -> list[dict[str, str]]:
    """Return the rows of the Markdown table in `printed`."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def test_each_figure_has_its_column(folder: Path) -> None:
    done = edgeopt_here("evaluate", "a.onnx", "b.onnx", "--data", "rows.npz", "--format", "markdown", "--confidence", "0.9")
    assert done.returncode == 0, done.stderr
    first, second = rows(done.stdout)
    assert first["accuracy"].startswith("1.0000 (") and second["accuracy"].startswith("0.5000 (")
    assert (first["agrees"], first["changed"], first["difference"], first["p"]) == ("1.0000", "–", "–", "–")
    assert (second["agrees"], second["changed"]) == ("0.5000", "10"), "half of the 20 rows are of the two classes that swapped"
    assert second["difference"].startswith("-0.5000 (-0.")
    assert 0 < float(second["p"]) < 0.01  # ten lost and none gained: 2 × 2⁻¹⁰
    assert "20 samples, intervals at 90 % confidence" in done.stderr


def test_without_labels_models_are_judged_by_agreement(folder: Path) -> None:
    np.savez(folder / "plain.npz", x=np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 5])
    done = edgeopt_here("evaluate", "a.onnx", "b.onnx", "--data", "plain.npz", "--format", "markdown", "--limit", "8")
    assert done.returncode == 0, done.stderr
    first, second = rows(done.stdout)
    assert not {"difference", "p", "agrees"} & set(second), "there is no metric to differ in"
    assert first["changed"] == "–" and float(second["output error"]) > 0
    assert "8 samples" in done.stderr


def test_the_format_is_looked_at_before_the_models(folder: Path) -> None:
    done = edgeopt_here("evaluate", "none.onnx", "--data", "none.npz", "--format", "markdwn")
    assert done.returncode == 2
    assert done.stderr == "edgeopt: --format markdwn (did you mean 'markdown'?): choose table, json, markdown\n"


def test_distances_that_only_later_models_have_stand_in_their_own_columns(capsys: pytest.CaptureFixture[str]) -> None:
    def score(name: str, further: dict[str, float], changed: int | None) -> ModelScore:
        return ModelScore(name, "perplexity", 9.0, None, None, 1.0, None, changed, None, further)

    found = Evaluation("text-generation", True, 3, 0.95, (score("a", {}, None), score("b", {"KL": 0.25}, 3)), ())
    _show(found, "markdown")
    first, second = rows(capsys.readouterr().out)
    assert (first["KL"], first["agrees"], first["changed"]) == ("–", "1.0000", "–")
    assert (second["KL"], second["agrees"], second["changed"]) == ("0.2500", "1.0000", "3")
