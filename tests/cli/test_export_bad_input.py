"""`edgeopt export` on what cannot be exported: exit code 2, one line that says what to do, nothing written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from edgeopt.cli import main

SMALL = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
MODULE = """
import torch

class Branching(torch.nn.Module):
    def forward(self, x):
        doubled = x * 2
        if doubled.sum() > 0:
            doubled = doubled + 1
        return doubled

class Fixing(torch.nn.Module):
    def forward(self, x):
        return x.reshape(-1, int(x.shape[1]) * 3) if x.shape[2] == 3 else x.new_zeros(7)

def make():
    return Branching()

def fixing():
    return Fixing()
"""


@pytest.fixture
def export(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command and returns its one line on stderr; asserts that it is refused."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["edgeopt", "export", *map(str, arguments), "-o", "out", "-q"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        shown = capsys.readouterr()
        assert (stopped.value.code, shown.out) == (2, ""), shown.err
        lines = [line for line in shown.err.splitlines() if line.startswith("edgeopt: ")]
        assert len(lines) == 1, shown.err
        assert not list(Path("out").glob("*")) if Path("out").exists() else True
        return lines[0]

    return run


@pytest.fixture
def bert(tmp_path) -> Path:
    from transformers import BertConfig, BertForSequenceClassification

    BertForSequenceClassification(BertConfig(**SMALL)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_an_architecture_without_a_family_names_the_nearest_and_generic(tmp_path, export):
    from transformers import MegatronBertConfig, MegatronBertModel

    MegatronBertModel(MegatronBertConfig(**SMALL)).save_pretrained(tmp_path / "model")
    said = export(tmp_path / "model")
    assert "no family exports models of type 'megatron-bert' (did you mean " in said
    assert "--set family=generic --data" in said


def test_a_task_the_checkpoint_has_no_head_for(bert, export):
    said = export(bert, "--task", "fill-mask")
    assert "has no weights for" in said and "choose a task this checkpoint was trained for" in said
    assert "family 'bert' has no task 'text-generation'" in export(bert, "--set", "task=text-generation")
    assert "task 'text-clasification' is not known (did you mean 'text-classification'?)" in export(
        bert, "--task", "text-clasification"
    )


def test_a_missing_weight_is_never_random(bert, export):
    weights = load_file(bert / "model.safetensors")
    del weights["bert.encoder.layer.0.attention.self.query.weight"]
    save_file(weights, bert / "model.safetensors", metadata={"format": "pt"})
    assert "has no weights for bert.encoder.layer.0.attention.self.query.weight" in export(bert)


def test_a_weight_of_another_shape_is_never_random(bert, export):
    weights = load_file(bert / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"].repeat(2, 1)
    save_file(weights, bert / "model.safetensors", metadata={"format": "pt"})
    assert "the weight classifier.weight has shape [4, 16], but its config.json makes it [2, 16]" in export(bert)


def test_code_that_comes_with_a_model_is_refused_and_does_not_run(tmp_path, export):
    (tmp_path / "remote").mkdir()
    config = '{"model_type": "mine", "auto_map": {"AutoConfig": "mine.MineConfig", "AutoModel": "mine.Mine"}}'
    (tmp_path / "remote" / "config.json").write_text(config)
    (tmp_path / "remote" / "mine.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'evil')!r}).touch()")
    said = export(tmp_path / "remote")
    assert "contains Python code" in said and "--trust-remote-code" in said
    assert not (tmp_path / "evil").exists()


def test_control_flow_on_values_names_the_file_and_line(tmp_path, monkeypatch, export):
    (tmp_path / "stranger.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3), np.float32))
    said = export("stranger:make", "--data", "x.npz")
    assert f"({tmp_path / 'stranger.py'}:7: if doubled.sum() > 0:)" in said
    assert "torch.where or torch.cond" in said
    sys.modules.pop("stranger")


def test_a_module_without_samples_says_how_to_give_them(tmp_path, monkeypatch, export):
    (tmp_path / "lonely.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    said = export("lonely:make")
    assert "--data FILE.npz" in said and "example_inputs()" in said
    sys.modules.pop("lonely")


def test_an_axis_the_architecture_fixes_is_named(tmp_path, export):
    from transformers import ViTConfig, ViTForImageClassification

    small = {key: value for key, value in SMALL.items() if key != "vocab_size"}
    ViTForImageClassification(ViTConfig(**small, image_size=32, patch_size=16)).save_pretrained(tmp_path / "vit")
    said = export(tmp_path / "vit", "--dynamic", "height")
    assert "'height' cannot be dynamic" in said and "Input image size" in said
    assert "'hight' (did you mean 'height'?) is not an axis that can be dynamic in this model" in export(
        tmp_path / "vit", "--dynamic", "hight"
    )
