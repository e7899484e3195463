"""Rows of tokens: found by building the class twice, cut with everything that is tied to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from edgeopt.errors import RecipeError
from edgeopt.prune.vocabulary.rows import keep_rows, special_ids, vocabulary_size
from tests.prune.tiny_models import tiny

_KEPT = [0, 1, 2, 5, 7, 11, 40, 41, 63, 90]


@pytest.mark.parametrize(
    "family", ["bert", "distilbert", "mpnet", "deberta_v2", "albert", "modernbert", "llama", "gpt2", "opt", "qwen3", "gemma"]
)
def test_fewer_rows_give_the_same_outputs_for_the_tokens_that_stay(family: str) -> None:
    model, _, _ = tiny(family)
    kept = sorted({*_KEPT, *(one for one in special_ids(model.config) if 0 <= one < model.config.vocab_size)})
    old = torch.tensor([[kept[place] for place in (3, 5, 2, 6, 4)]])
    before = model(input_ids=old).logits
    size = vocabulary_size(model)
    keep_rows(model, kept)
    assert model.config.vocab_size == len(kept) == model.get_input_embeddings().num_embeddings
    after = model(input_ids=torch.tensor([[kept.index(int(one)) for one in old[0]]])).logits
    expected = before[..., kept] if before.shape[-1] == size else before
    assert torch.allclose(after, expected, atol=1e-5), f"largest error {float((after - expected).abs().max()):.1e}"
    tied = getattr(model.config, "tie_word_embeddings", False) and model.get_output_embeddings() is not None
    assert not tied or model.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("family", ["t5", "bart", "whisper"])
def test_both_halves_of_an_encoder_decoder_lose_the_rows(family: str) -> None:
    model, batch, _ = tiny(family)
    kept = sorted({*_KEPT, *(one for one in special_ids(model.config) if 0 <= one < model.config.vocab_size)})
    ids = {name: torch.tensor([kept[:4]]) for name in batch if name.endswith("ids")}
    others = {name: torch.from_numpy(array[:1]) for name, array in batch.items() if name not in ids}
    before = model(**others, **ids).logits
    keep_rows(model, kept)
    after = model(**others, **{name: torch.arange(4)[None] for name in ids}).logits
    assert torch.allclose(after, before[..., kept], atol=1e-5)


def test_a_masked_language_models_bias_follows() -> None:
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    model: Any = transformers.BertForMaskedLM(config).eval()
    torch.nn.init.normal_(model.cls.predictions.bias)
    before = model(input_ids=torch.tensor([[5, 9, 20]])).logits
    keep_rows(model, [0, 5, 9, 20, 30])
    after = model(input_ids=torch.tensor([[1, 2, 3]])).logits
    assert torch.allclose(after, before[..., [0, 5, 9, 20, 30]], atol=1e-5)


def test_a_model_of_images_has_no_vocabulary() -> None:
    with pytest.raises(RecipeError, match="has no vocabulary"):
        vocabulary_size(tiny("vit")[0])
