"""Recording what modules give, and finding layers by their names."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.models.record import attention_projections, layer_names, recording


def bert() -> nn.Module:
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, num_labels=3
    )
    return transformers.BertForSequenceClassification(config).eval()


def test_recorded_layers_are_the_models_hidden_states() -> None:
    model, ids = bert(), torch.arange(12).reshape(2, 6)
    names = layer_names(model)
    assert names == [f"bert.encoder.layer.{index}" for index in range(3)]
    with recording(model, names) as seen:
        result = model(ids, output_hidden_states=True)
    for name, state in zip(names, result.hidden_states[1:], strict=True):
        assert torch.equal(seen[name], state)
    model(ids[:, :3])
    assert seen[names[0]].shape[1] == 6, "a hook was left behind"


@pytest.mark.parametrize("family", ["bert", "distilbert", "llama"])
def test_projections_are_found_by_name(family: str) -> None:
    if family == "bert":
        model = bert()
    elif family == "distilbert":
        small = transformers.DistilBertConfig(vocab_size=30, dim=16, n_layers=2, n_heads=2, hidden_dim=24)
        model = transformers.DistilBertModel(small)
    else:
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        model = transformers.LlamaModel(transformers.LlamaConfig(vocab_size=30, **sizes))
    names = attention_projections(model, layer_names(model)[-1])
    modules = dict(model.named_modules())
    assert [modules[name].in_features for name in names] == [16, 16, 16]
    assert len(set(names)) == 3


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="has no module 'layer3'"), recording(nn.Sequential(nn.Linear(2, 2)), ["layer3"]):
        pass
    with pytest.raises(ModelError, match="has no layers to choose from"):
        layer_names(nn.Linear(2, 2))
    with pytest.raises(ModelError, match="no query, key and value layers"):
        attention_projections(nn.Sequential(nn.Linear(2, 2)), "0")
