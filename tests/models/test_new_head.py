"""An encoder with a new head: trained weights inside, random ones in the head alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from edgeopt.errors import ModelError
from edgeopt.models.new_head import new_head

CONFIG = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    transformers.BertForSequenceClassification(transformers.BertConfig(**CONFIG)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_the_head_is_new_and_the_encoder_is_kept(encoder: Path) -> None:
    made = new_head(str(encoder), "token-classification", ["O", "B-A", "I-A"])
    assert made.config.id2label == {0: "O", 1: "B-A", 2: "I-A"}
    trained = transformers.AutoModel.from_pretrained(encoder).state_dict()
    kept = made.base_model.state_dict()
    assert all(torch.equal(kept[name], trained[name]) for name in kept)
    again = new_head(str(encoder), "token-classification", ["O", "B-A", "I-A"])
    assert torch.equal(made.classifier.weight, again.classifier.weight)


def test_what_cannot_be_built_is_said(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="task 'tagging' is not known"):
        new_head(str(encoder), "tagging", ["a"])
    with pytest.raises(ModelError, match="transformers cannot load it"):
        new_head(str(tmp_path / "nothing-here"), "token-classification", ["a"])
