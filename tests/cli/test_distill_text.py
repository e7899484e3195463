"""`edgeopt distill` on texts from the shell: tables with named classes, and plain text without labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import transformers
from typer.testing import CliRunner

from edgeopt.cli.app import app

_WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "good", "bad", "film", "story", "actor", "very", "a"]


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(_WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(_WORDS[:5])
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    config = transformers.BertConfig(vocab_size=len(_WORDS), **labels, **sizes)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "teacher")
    tokenizer.save(str(tmp_path / "teacher" / "tokenizer.json"))
    return tmp_path / "teacher"


def test_classes_by_name_and_text_without_labels(teacher: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = ["text,label"]
    for number in range(60):
        word = ("bad", "good")[number % 2]
        rows.append(f"a very {word} {generator.choice(_WORDS[7:10])},{word}")
    (tmp_path / "train.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "more.txt").write_text("a story\na very good actor\n" * 20, encoding="utf-8")
    call = ["distill", str(teacher), "--train", str(tmp_path / "train.csv"), "--evaluate", str(tmp_path / "train.csv")]
    more = ["--unlabelled", str(tmp_path / "more.txt"), "--layers", "1", "--set", "train.epochs=2.0"]
    result = CliRunner().invoke(app, [*call, *more, "-o", str(tmp_path / "student"), "-q"])
    assert result.exception is None, result.output + repr(result.exception)
    assert "accuracy: " in result.output
    assert ", the teacher's 0." in result.output
    config = json.loads((tmp_path / "student" / "config.json").read_text(encoding="utf-8"))
    assert config["num_hidden_layers"] == 1
    assert config["id2label"] == {"0": "bad", "1": "good"}
    assert (tmp_path / "student" / "tokenizer.json").is_file()
