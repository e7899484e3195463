"""From the shell: the pruned folder has a smaller vocabulary and a tokenizer that goes with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import DataError, RecipeError
from edgeopt.models.load import load_model
from tests.prune.vocabulary.texts import CORPUS, trained


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = trained("WordPiece")
    config = transformers.BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, pad_token_id=0
    )
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "whole")
    tokenizer.save(str(tmp_path / "whole" / "tokenizer.json"))
    added = {str(place): {"content": token} for place, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    (tmp_path / "whole" / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    lines = [json.dumps({"text": text, "label": place % 2}) for place, text in enumerate(CORPUS[:6] * 3)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "whole"


def test_the_folder_gives_the_same_answers_with_fewer_rows(model: Path, tmp_path: Path) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.jsonl"), "-o", str(tmp_path / "slim"), "-q"]
    done = CliRunner().invoke(app, [*command, "--set", "vocabulary=true", "--set", "recovery=none"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "vocabulary: " in done.output and "of 200 tokens" in done.output
    whole, slim = (load_model(path).module for path in (model, tmp_path / "slim"))
    old, new = (Tokenizer.from_file(str(path / "tokenizer.json")) for path in (model, tmp_path / "slim"))
    assert slim.config.vocab_size == new.get_vocab_size() < 120
    answers = [
        one(input_ids=torch.tensor([tokenizer.encode(CORPUS[2]).ids])).logits for one, tokenizer in ((whole, old), (slim, new))
    ]
    assert torch.allclose(*answers, atol=1e-5)
    done = CliRunner().invoke(app, ["export", str(tmp_path / "slim"), "-o", str(tmp_path / "onnx"), "-q"])
    assert done.exit_code == 0, done.output


def test_with_a_budget_and_a_recovery_the_folder_is_rebuilt(model: Path, tmp_path: Path) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.jsonl"), "--evaluate", str(tmp_path / "train.jsonl")]
    settings = ["vocabulary=true", "search_rounds=2", "train.epochs=1", "calibration_samples=8"]
    changes = [part for setting in settings for part in ("--set", setting)]
    done = CliRunner().invoke(
        app, [*command, "--macs", "0.6x", *changes, "-o", str(tmp_path / "slim"), "-q"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    loaded = load_model(tmp_path / "slim").module
    assert loaded.get_input_embeddings().num_embeddings == loaded.config.vocab_size < 120


def test_samples_of_ids_and_folders_without_tokenizer_are_refused(model: Path, tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(4, 100, (6, 5))
    np.savez(tmp_path / "ids.npz", input_ids=ids, attention_mask=np.ones_like(ids), labels=np.arange(6) % 2)
    command = ["prune", str(model), "--train", str(tmp_path / "ids.npz"), "--set", "vocabulary=true", "-q"]
    command += ["-o", str(tmp_path / "slim")]
    with pytest.raises(DataError, match="the samples are token ids"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    (model / "tokenizer.json").unlink()
    with pytest.raises(RecipeError, match="has none"):
        CliRunner().invoke(app, command, catch_exceptions=False)
