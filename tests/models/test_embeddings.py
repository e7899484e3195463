"""Finding the layer that embeds tokens, in networks that have one and in networks that have none."""

from __future__ import annotations

import transformers
from torch import nn

from edgeopt.models.embeddings import token_embeddings


def test_a_text_model_embeds_its_tokens() -> None:
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    found = token_embeddings(transformers.BertModel(config))
    assert found is not None and (found.num_embeddings, found.embedding_dim) == (30, 8)


def test_networks_without_tokens_have_none() -> None:
    config = transformers.MobileNetV2Config(num_labels=3, image_size=32, depth_multiplier=0.25)
    assert token_embeddings(transformers.MobileNetV2ForImageClassification(config)) is None
    assert token_embeddings(nn.Linear(2, 2)) is None
