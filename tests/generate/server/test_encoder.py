"""What is no text encoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
from onnx import parser

from edgeopt.errors import ModelError
from edgeopt.generate.server.encoder import Encoder


def test_a_model_that_is_neither_is_refused(portable: Path) -> None:
    with pytest.raises(ModelError, match="neither a language model nor a text encoder"):
        Encoder(portable)


TEXT = """<ir_version: 10, opset_import: ["" : 20]> classify (int64[b, s] input_ids) => (float[b, s] {name})
{{ {name} = Cast <to = 1> (input_ids) }}"""


def test_scores_of_classes_are_no_vectors_of_texts(portable: Path, tmp_path: Path) -> None:
    shutil.copyfile(portable / "tokenizer.json", tmp_path / "tokenizer.json")
    onnx.save(parser.parse_model(TEXT.format(name="logits")), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="its output 'logits' holds scores of classes"):
        Encoder(tmp_path)


@pytest.mark.parametrize(
    ("config", "tokenizer", "longest"),
    [
        ('{"max_position_embeddings": 514}', '{"model_max_length": 512}', 512),
        ('{"max_position_embeddings": 64}', '{"model_max_length": 1e30}', 64),
        ("[]", "{", 1 << 30),
    ],
)
def test_the_longest_text_is_what_model_and_tokenizer_take(
    config: str, tokenizer: str, longest: int, portable: Path, tmp_path: Path
) -> None:
    shutil.copyfile(portable / "tokenizer.json", tmp_path / "tokenizer.json")
    onnx.save(parser.parse_model(TEXT.format(name="embedding")), tmp_path / "model.onnx")
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(tokenizer, encoding="utf-8")
    assert Encoder(tmp_path).longest == longest
