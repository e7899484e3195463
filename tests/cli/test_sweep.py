"""`edgeopt sweep`: a row for each point."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import edgeopt_here


def test_a_sweep_has_a_row_for_each_point(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(labelled)
    arguments = ("sweep", "good.onnx", "--threads", "1,2", "--batch", "1,4", "--seconds", "0.4")
    result = edgeopt_here(*arguments, "--format", "json")
    assert result.returncode == 0, result.stderr
    points = json.loads(result.stdout)["points"]
    assert [(point["threads"], point["batch_size"]) for point in points] == [(1, 1), (1, 4), (2, 1), (2, 4)]
