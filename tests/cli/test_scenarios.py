"""`edgeopt scenarios`: a metric for each load pattern."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import edgeopt


def test_scenarios_print_a_metric_each(labelled: Path) -> None:
    result = edgeopt("scenarios", "good.onnx", "--seconds", "0.4", "--format", "markdown", cwd=labelled)
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[1:]] == ["---", "single-stream", "multi-stream", "offline"]
