"""`edgeopt init`: the recipe, and errors in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.cli.test_commands import edgeopt
from tests.stages.conftest import write_linear


def test_a_recipe_is_written_once(tmp_path: Path) -> None:
    write_linear(tmp_path / "net.onnx", np.eye(4))
    done = edgeopt("init", "net.onnx", "-o", "r.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "r.toml: run it with: edgeopt run r.toml\n"
    assert "random inputs are in r-random-inputs" in done.stderr
    plan = edgeopt("run", "r.toml", "--dry-run", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    again = edgeopt("init", "net.onnx", "-o", "r.toml", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr == "edgeopt: r.toml: exists; remove it or name another file\n"
