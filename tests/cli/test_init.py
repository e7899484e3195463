"""`edgeopt init`: the recipe, and errors in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import edgeopt_here
from tests.stages.conftest import write_linear


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_recipe_is_written_once(tmp_path: Path) -> None:
    write_linear(tmp_path / "net.onnx", np.eye(4))
    done = edgeopt_here("init", "net.onnx", "-o", "r.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "r.toml: run it with: edgeopt run r.toml\n"
    assert "random inputs are in r-random-inputs" in done.stderr
    plan = edgeopt_here("run", "r.toml", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    again = edgeopt_here("init", "net.onnx", "-o", "r.toml")
    assert again.returncode == 2
    assert again.stderr == "edgeopt: r.toml: exists; remove it or name another file\n"
