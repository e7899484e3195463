"""`edgeopt evaluate`: figures as JSON and as a table, errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_commands import edgeopt
from tests.stages.conftest import write_linear


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_linear(tmp_path / "a.onnx", np.eye(4))
    write_linear(tmp_path / "b.onnx", np.eye(4)[[1, 0, 2, 3]])
    np.savez(tmp_path / "rows.npz", x=np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 5], labels=np.array([0, 1, 2, 3] * 5))
    return tmp_path


def test_json_and_table(folder: Path) -> None:
    done = edgeopt("evaluate", "a.onnx", "b.onnx", "--data", "rows.npz", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["models"]
    assert [(model["name"], model["metric"], model["value"]) for model in models] == [
        ("a", "accuracy", 1.0),
        ("b", "accuracy", 0.5),
    ]
    assert models[1]["difference"]["difference"] == -0.5
    table = edgeopt("evaluate", "a.onnx", "b.onnx", "--data", "rows.npz", cwd=folder)
    assert "-0.5000" in table.stdout
    assert "20 samples" in table.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.onnx", "--data", "none.npz"], "no such calibration data"),
        (["none.onnx", "--data", "rows.npz"], "no such model"),
        (["a.onnx", "--data", "rows.npz", "--task", "nonsense"], "task 'nonsense' is not known"),
        (["a.onnx", "--data", "rows.npz", "--task", "token-classification"], "needs"),
    ],
)
def test_bad_input_is_one_line_and_code_2(folder: Path, arguments: list[str], said: str) -> None:
    done = edgeopt("evaluate", *arguments, "--quiet", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
