"""Sizes of encoder-decoder models, read from their configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeopt.export.family import Config, Input

Inputs = Callable[[Config], Mapping[str, Input]]


def dimensions(config: Config) -> tuple[int, int, int]:
    """Return layers, heads and head size of the decoder; the configurations name them in two ways."""
    layers = getattr(config, "decoder_layers", None) or getattr(config, "num_decoder_layers", None) or config.num_layers
    heads = getattr(config, "decoder_attention_heads", None) or config.num_heads
    return int(layers), int(heads), int(getattr(config, "d_kv", None) or config.d_model // heads)
