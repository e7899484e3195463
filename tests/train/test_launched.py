"""Several processes run one recipe, and one command: the same weights as one process, one set of outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from edgeopt.train import launched

_NETS = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))

def small():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
"""
_RECIPE = """
allow_worse = true
max_drop_points = 100.0

[data]
set = "train.npz"

[teacher]
source = "nets_of_a_team:net"
train = { epochs = 3.0, batch_size = 16, learning_rate = 0.02 }

[distill]
source = "nets_of_a_team:small"
train = { epochs = 3.0, batch_size = 16, learning_rate = 0.02 }

[verify]
max_drop_points = 100.0

[profile]
seconds = 0.5
"""


def launch(folder: Path, *arguments: str, processes: int) -> None:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
    environment["ACCELERATE_USE_CPU"] = "true"  # (accelerate launch itself starts one process where there is no GPU and no MPI)
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(several if processes > 1 else []), "-m", "edgeopt", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-4000:]}"


@pytest.mark.slow
def test_several_processes_run_a_recipe_together(tmp_path: Path) -> None:
    (tmp_path / "nets_of_a_team.py").write_text(_NETS)
    (tmp_path / "recipe.toml").write_text(_RECIPE)
    values = np.random.default_rng(0).standard_normal((96, 6)).astype(np.float32)
    np.savez(tmp_path / "train.npz", input=values, labels=(values.sum(axis=1) > 0).astype(np.int64))
    weights = []
    for processes in (1, 2):
        launch(tmp_path, "run", "recipe.toml", "-o", f"run-{processes}", "-q", processes=processes)
        found = sorted((tmp_path / f"run-{processes}" / "artifacts").glob("distill-*/**/model.safetensors"))
        assert len(found) == 1, "each process made an artifact"
        weights.append(load_file(found[0]))
    for name, tensor in weights[0].items():
        assert np.allclose(tensor, weights[1][name], rtol=1e-3, atol=1e-4), name


def test_one_process_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "3")
    assert (launched.rank(), launched.size()) == (0, 1)
    launched.announce("distill")  # there is no other process
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (launched.rank(), launched.size()) == (3, 4)
