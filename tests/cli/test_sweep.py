"""`edgeopt sweep`: a row for each point."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import edgeopt


def test_a_sweep_has_a_row_for_each_point(labelled: Path) -> None:
    arguments = ("sweep", "good.onnx", "--threads", "1,2", "--batch", "1,4", "--seconds", "0.4")
    result = edgeopt(*arguments, "--format", "json", cwd=labelled)
    assert result.returncode == 0, result.stderr
    points = json.loads(result.stdout)["points"]
    assert [(point["threads"], point["batch_size"]) for point in points] == [(1, 1), (1, 4), (2, 1), (2, 4)]
