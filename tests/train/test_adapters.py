"""LoRA: little is trained, and what is learned is in the weights afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from edgeopt.data.samples import from_arrays
from edgeopt.errors import ModelError
from edgeopt.train.adapters import attach
from edgeopt.train.config import AdapterOptions, TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.supervised import train_supervised


def bert() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=30, num_labels=2, **sizes))


def samples():  # type: ignore[no-untyped-def]
    ids = np.random.default_rng(0).integers(1, 30, (120, 6))
    return from_arrays({"input_ids": ids}, (ids[:, 0] > 15).astype(np.int64))


def test_what_is_learned_is_merged_into_the_model(tmp_path: Path) -> None:
    model, data = bert(), samples()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = TrainOptions(epochs=12.0, batch_size=20, learning_rate=0.02, adapter=AdapterOptions(rank=4), precision="no")
    result = train_supervised(model, data, options=options, session=Session(0, tmp_path))
    assert result.history[-1].loss < 0.75 * result.history[0].loss
    after = model.state_dict()
    assert after.keys() == before.keys(), "the adapter's layers are still there"
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert "bert.encoder.layer.0.attention.self.query.weight" in changed
    assert "classifier.weight" in changed
    assert not any("embeddings" in name or "LayerNorm" in name for name in changed)
    update = after["bert.encoder.layer.1.output.dense.weight"] - before["bert.encoder.layer.1.output.dense.weight"]
    assert int(torch.linalg.matrix_rank(update, tol=1e-5)) <= 4


def test_models_without_linear_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="no linear layer besides its head"), attach(nn.Conv2d(1, 1, 1), AdapterOptions()):
        pass
    with pytest.raises(ModelError, match="LoRA does not fit"), attach(bert(), AdapterOptions(targets=["no_such_layer"])):
        pass


def test_the_packed_layers_of_gpt2_are_trained() -> None:
    config = transformers.GPT2Config(
        vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=8, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    names, before = list(model.state_dict()), model.transformer.h[0].attn.c_attn.weight.clone()
    with attach(model, AdapterOptions()):
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad and "lora_B" in name}
        assert any("c_attn" in name for name in trained)
        for value in trained.values():
            nn.init.ones_(value)
    assert list(model.state_dict()) == names
    assert not torch.equal(before, model.transformer.h[0].attn.c_attn.weight)
