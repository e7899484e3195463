from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertModel, masking_utils

from edgeopt.export.attention import additive_mask, attention_for_export, boolean_mask, fused_attention

SIZES = {"batch_size": 2, "q_length": 5, "kv_length": 5}
PADDING = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
PATTERNS = {
    "bidirectional": masking_utils.bidirectional_mask_function,
    "causal": masking_utils.causal_mask_function,
    "window": masking_utils.sliding_window_causal_mask_function(2),
}


@pytest.mark.parametrize("padding", [PADDING, None], ids=["padded", "whole"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_masks_are_those_of_transformers(pattern, padding):
    options = SIZES | {"mask_function": PATTERNS[pattern], "attention_mask": padding}
    expected = masking_utils.sdpa_mask(**options, allow_is_causal_skip=False)
    found = boolean_mask(**options)
    if found is None:
        assert expected.all()
    else:
        assert torch.equal(found, expected)
        assert torch.equal(additive_mask(**options), masking_utils.eager_mask(**options))


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_that_of_transformers_with_bias_mask_and_grouped_queries(key_heads, biased, masked):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, key_heads, 5, 8), torch.randn(2, key_heads, 5, 8)
    module = torch.nn.Module()
    module.is_causal, module.num_key_value_groups = not biased, 4 // key_heads
    mask = PADDING[:, None, None, :].expand(2, 1, 5, 5) if masked else None
    options = {"scaling": 0.3, "position_bias": torch.randn(1, 4, 5, 5) if biased else None}
    expected, _ = sdpa_attention_forward(module, query, key, value, mask, **options)
    found, _ = fused_attention(module, query, key, value, mask, **options)
    torch.testing.assert_close(found, expected)


def test_attention_is_what_it_was_afterwards():
    small = {"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(**small))
    before = dict(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS)
    with attention_for_export(model, "decomposed"):
        assert model.config._attn_implementation == "eager"
        assert masking_utils.ALL_MASK_ATTENTION_FUNCTIONS["eager"] is additive_mask
    assert model.config._attn_implementation == "sdpa"
    assert dict(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS) == before
