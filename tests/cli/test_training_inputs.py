"""`distill` and `prune` from the shell: samples from any source, a killed run that goes on, labels that cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import DataError
from edgeopt.train import loop

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Linear(6, width), nn.Linear(width, 3)
    def forward(self, x):
        return self.second(torch.relu(self.first(x)))

def teacher():
    torch.manual_seed(0)
    return Net(32)

def student():
    return Net(8)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets_of_this_test.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nets_of_this_test", raising=False)
    values = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    np.savez("train.npz", x=values, labels=np.arange(60) % 3)
    np.savez("wrong.npz", x=values, labels=np.arange(60) % 3 + 1)
    return tmp_path


def distill(output: str, data: str = "train.npz", *arguments: str) -> Exception | None:
    names = [f"nets_of_this_test:{name}" for name in ("teacher", "student")]
    options = ["--set", "train.epochs=4.0", "--set", "train.batch_size=8", "--set", "train.checkpoint_seconds=0.0"]
    call = ["distill", names[0], "--student", names[1], "--data", data, "-o", output, "-q", *options, *arguments]
    result = CliRunner().invoke(app, call)
    error = result.exception
    assert error is None or isinstance(error, Exception | KeyboardInterrupt | SystemExit)
    return error  # type: ignore[return-value]


def test_a_killed_distillation_goes_on_and_ends_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert distill("whole") is None
    save, saved = loop.save_checkpoint, []

    def dying(*arguments: object, **named: object) -> None:
        save(*arguments, **named)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == 9:
            raise RuntimeError("killed")

    monkeypatch.setattr(loop, "save_checkpoint", dying)
    assert isinstance(distill("killed"), RuntimeError)
    assert (folder / ".killed.checkpoint" / "training.safetensors").is_file()
    assert distill("killed") is None
    assert len(saved) == 4 * 8, "steps done before the kill were done again"
    assert (folder / "killed" / "model.safetensors").read_bytes() == (folder / "whole" / "model.safetensors").read_bytes()
    assert not (folder / ".killed.checkpoint").exists()


def test_another_training_is_not_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert distill("whole", "train.npz", "--seed", "1") is None
    with monkeypatch.context() as patch:
        save = loop.save_checkpoint

        def dying(*arguments: object, **named: object) -> None:
            save(*arguments, **named)  # type: ignore[arg-type]
            raise RuntimeError("killed")

        patch.setattr(loop, "save_checkpoint", dying)
        assert isinstance(distill("again"), RuntimeError)
    assert distill("again", "train.npz", "--seed", "1") is None
    assert (folder / "again" / "model.safetensors").read_bytes() == (folder / "whole" / "model.safetensors").read_bytes()


def test_labels_counted_from_one_are_refused_before_any_step(folder: Path) -> None:
    error = distill("student", "wrong.npz")
    assert isinstance(error, DataError)
    assert "labels from 1 to 3 are impossible for a model of 3 classes (0 to 2); are they counted from 1" in str(error)
    assert not (folder / "student").exists()
