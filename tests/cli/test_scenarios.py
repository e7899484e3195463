"""`edgeopt scenarios`: a metric for each load pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import edgeopt_here


def test_scenarios_print_a_metric_each(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(labelled)
    result = edgeopt_here("scenarios", "good.onnx", "--seconds", "0.4", "--format", "markdown")
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[1:]] == ["---", "single-stream", "multi-stream", "offline"]
