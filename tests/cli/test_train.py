"""`edgeopt train` from the shell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.models.load import load_model
from tests.conftest import WORDS

_NETS = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net_of_this_test.py").write_text(_NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, seed in (("train.npz", 0), ("test.npz", 1)):
        values = np.random.default_rng(seed).standard_normal((200, 6)).astype(np.float32)
        np.savez(name, input=values, labels=(values.sum(axis=1) > 0).astype(np.int64))
    return tmp_path


def run(*arguments: str):  # type: ignore[no-untyped-def]
    call = ["train", "net_of_this_test:net", "--train", "train.npz", "-o", "out", "-q", *arguments]
    return CliRunner().invoke(app, call)


def test_it_prints_each_evaluation_and_marks_the_kept_one(folder: Path) -> None:
    result = run("--evaluate", "test.npz", "--set", "epochs=5.0", "--set", "learning_rate=0.02")
    assert result.exception is None, result.output
    assert "out: trained for 35 steps" in result.output
    lines = [line for line in result.output.splitlines() if line.startswith("accuracy after step")]
    assert len(lines) == 5
    assert sum(line.endswith(", kept") for line in lines) == 1
    assert max(float(line.split(": ")[1].split(",")[0]) for line in lines) > 0.85
    assert (folder / "out" / "model.safetensors").is_file()
    assert not (folder / ".out.checkpoint").exists()


def test_lora_trains_and_is_merged(folder: Path) -> None:
    result = run("--lora", "--set", "epochs=1.0")
    assert result.exception is None, result.output
    assert (folder / "out" / "model.safetensors").stat().st_size < 2000


@pytest.mark.parametrize(("time", "said"), [("soon", "write a number and s, m or h"), ("0m", "write a number")])
def test_a_time_that_is_none_is_named(folder: Path, time: str, said: str) -> None:
    assert said in str(run("--time", time).exception)


def test_a_time_limit_ends_the_training(folder: Path) -> None:
    result = run("--time", "1s")
    assert result.exception is None, result.output
    assert int(result.output.split("trained for ")[1].split(" ")[0].replace(",", "")) > 20


def test_a_pretrained_encoder_gets_a_head_for_the_classes_of_the_data(tmp_path: Path, word_tokenizer: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "initializer_range": 0.3,
    }
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(base)
    shutil.copy(word_tokenizer / "tokenizer.json", base)
    rows = [f"{word} film,{label}" for word, label in (("good", "yes"), ("bad", "no"), ("the", "maybe")) for _ in range(12)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    call = ["train", str(base), "--train", str(tmp_path / "rows.csv"), "--evaluate", str(tmp_path / "rows.csv"), "-o", str(out)]
    result = CliRunner().invoke(app, [*call, "--set", "epochs=30.0", "--set", "learning_rate=0.003"])
    assert result.exception is None, result.output
    assert "base gets a new head: text-classification with 3 classes (maybe, no, yes)" in " ".join(result.output.split())
    made = load_model(out)
    assert (made.task, made.labels) == ("text-classification", ("maybe", "no", "yes"))
    assert "accuracy after step 60: 1.0000" in result.output
    again = CliRunner().invoke(app, ["train", str(out), *call[2:], "--set", "epochs=1.0", "-q"])
    assert again.exception is None and "gets a new head" not in again.output


def test_p_tuning_survives_export_and_evaluation(tmp_path: Path) -> None:
    from edgeopt.evaluate.language import evaluate_language
    from edgeopt.generate.engine.engine import Engine
    from edgeopt.generate.engine.sampling import Sampling
    from tests.generate.conftest import TEXT, make_tokenizer

    source, out, exported = (tmp_path / name for name in ("source", "out", "exported"))
    make_tokenizer(source)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=128, initializer_range=0.1, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(source)
    text = tmp_path / "text.txt"
    text.write_text(TEXT * 2, encoding="utf-8")
    data = f"{text}?max_length=32"
    changes = [f"--set={change}" for change in ("adapter.virtual_tokens=3", "epochs=20.0", "learning_rate=0.003")]
    call = ["train", str(source), "--train", data, "--evaluate", data, "--task", "text-generation", "--p-tuning", *changes]
    result = CliRunner().invoke(app, [*call, "-o", str(out), "-q"])
    assert result.exception is None, result.output
    judged = [float(line.split(": ")[1].split(",")[0]) for line in result.output.splitlines() if line.startswith("perplexity")]
    assert judged[-1] < 0.9 * judged[0]
    done = CliRunner().invoke(app, ["export", str(out), "--target", "x86-vnni", "-o", str(exported), "-q"])
    assert done.exception is None, done.output
    engine = Engine.open(exported)
    assert engine.virtual == [400, 401, 402]
    assert engine.prompt([{"role": "user", "content": "Hi"}])[:4] == [400, 401, 402, 1]
    answer = engine.generate("Once", Sampling(temperature=50.0, seed=0, max_tokens=60, ignore_eos=True))
    assert answer.prompt_tokens == 3 + len(engine.tokens.encode("Once", special=False))
    assert not {400, 401, 402} & set(answer.tokens)
    assert evaluate_language([exported], text, window=32).models[0].value == pytest.approx(judged[-1], rel=0.02)
    done = CliRunner().invoke(app, ["evaluate", str(out), "--data", data, "--task", "text-generation", "--format=json", "-q"])
    assert json.loads(done.stdout)["models"][0]["value"] == pytest.approx(judged[-1], rel=1e-3)


def test_two_ways_of_training_at_once_are_refused(folder: Path) -> None:
    assert "give one of them" in str(run("--lora", "--p-tuning").exception)
    assert "p-tuning needs a transformers folder" in str(run("--p-tuning").exception)
