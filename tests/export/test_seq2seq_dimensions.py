"""Layers, heads and head size of a decoder, whatever its configuration calls them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeopt.export.seq2seq_dimensions import dimensions


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"decoder_layers": 3, "decoder_attention_heads": 4, "d_model": 64}, (3, 4, 16)),  # as BART
        ({"num_decoder_layers": 2, "num_layers": 6, "num_heads": 8, "d_model": 64, "d_kv": 64}, (2, 8, 64)),  # as T5
        ({"num_layers": 6, "num_heads": 8, "d_model": 64}, (6, 8, 8)),
    ],
)
def test_they_are_read_from_either_form(config: dict[str, int], found: tuple[int, int, int]) -> None:
    assert dimensions(SimpleNamespace(**config)) == found
