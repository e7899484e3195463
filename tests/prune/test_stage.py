"""The command: prune a module of the user's, and export the folder it wrote."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import transformers
from torch import nn
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.data.annotations import Words
from edgeopt.data.samples import from_arrays
from edgeopt.errors import ModelError
from edgeopt.models.load import LoadedModel
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.stage import prune

_NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.up = nn.Conv2d(1, 16, 3), nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.norm, self.slopes, self.gamma = nn.GroupNorm(2, 16), nn.PReLU(16), nn.Parameter(torch.ones(16, 1, 1))
        self.head = nn.Linear(16, 12)

    def forward(self, image):
        return self.head((self.slopes(self.norm(self.up(self.first(image)))) * self.gamma).mean((2, 3)))[:, :10]
"""


def test_a_pruned_folder_is_exported_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_of_a_user.py").write_text(_NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    shell = CliRunner()
    prune = ["prune", "nets_of_a_user:Net", "--data", "digits", "-o", "slim", "--macs", "0.6", "--set", "scope=layer"]
    done = shell.invoke(app, [*prune, "--set", "round_to=4", "--set", "train.epochs=1", "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    kept = json.loads((tmp_path / "slim" / "model.json").read_text(encoding="utf-8"))["kept"]
    assert {"up", "norm", "slopes", "gamma", "head"} <= set(kept) and "out" not in kept["head"]
    monkeypatch.delitem(sys.modules, "nets_of_a_user")
    done = shell.invoke(app, ["export", "slim", "--data", "digits", "-o", "exported", "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    model = onnx.load(tmp_path / "exported" / "model.onnx")
    assert model.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 10
    monkeypatch.delitem(sys.modules, "nets_of_a_user")


def test_a_model_that_cannot_take_the_samples_is_refused_in_one_line(tmp_path: Path) -> None:
    samples = from_arrays({"pixels": np.zeros((4, 1, 8, 8), np.float32)}, np.arange(4))
    model = LoadedModel(nn.Sequential(nn.Conv2d(1, 4, 3)), None, None)
    with pytest.raises(ModelError, match=r"the model cannot take the samples \(pixels \[1, 1, 8, 8\]\): .*'pixels'"):
        prune(model, model, samples, output=tmp_path / "slim", options=PruneOptions(macs=0.5))


def test_a_model_that_writes_texts_is_given_the_text_so_far(tmp_path: Path) -> None:
    sizes = {"vocab_size": 12, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 4}
    module = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0))
    ids = np.random.default_rng(0).integers(2, 12, (8, 5))
    words = [Words((int(row[0]), 1), lambda tokens: str(tokens[0])) for row in ids]
    given = from_arrays({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    samples = replace(given, contexts=words, annotations=["a"] * 8)
    model = LoadedModel(module.eval(), "text2text-generation", None)
    teacher = LoadedModel(copy.deepcopy(module), "text2text-generation", None)
    found = prune(model, teacher, samples, output=tmp_path / "slim", options=PruneOptions(macs=0.9, recovery="none"))
    assert found.after.macs < found.before.macs
