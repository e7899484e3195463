"""Sizes of the tiny models that prove a family: a few thousand parameters, by the names of configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LAYERS: Mapping[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
"""A transformer for text, as BERT calls its sizes."""

POSITIONS: Mapping[str, Any] = {**LAYERS, "max_position_embeddings": 64}
"""The same with a table of positions."""

GROUPED: Mapping[str, Any] = {**LAYERS, "num_key_value_heads": 2}
"""A decoder whose queries share keys and values, as Llama calls its sizes."""

GPT: Mapping[str, Any] = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
"""A decoder as GPT-2 calls its sizes."""

ENCODER_DECODER: Mapping[str, Any] = {
    "vocab_size": 100,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
"""An encoder and a decoder as BART calls its sizes."""

T5: Mapping[str, Any] = {
    "vocab_size": 100,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
"""An encoder and a decoder as T5 calls its sizes."""

PATCHES: Mapping[str, Any] = {
    "image_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "patch_size": 8,
}
"""A transformer for patches of an image, as ViT calls its sizes."""

SPEECH: Mapping[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16, 16],
    "conv_stride": [5, 4],
    "conv_kernel": [10, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
"""Convolutions over samples and a transformer, as wav2vec 2.0 calls its sizes."""
