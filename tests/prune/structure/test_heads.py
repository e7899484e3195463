"""Attentions are found whatever their layers are called."""

from __future__ import annotations

import pytest

from edgeopt.prune.structure.heads import heads, linear_sizes
from tests.prune.tiny_models import tiny


@pytest.mark.parametrize(
    ("family", "units", "width"), [("bert", 4, 8), ("gpt2", 4, 8), ("llama", 2, 16), ("modernbert", 4, 8), ("opt", 4, 8)]
)
def test_a_unit_is_a_head_or_a_group_that_shares_keys(family: str, units: int, width: int) -> None:
    parts = heads(tiny(family)[0])
    assert {part.units for part in parts} == {units}
    assert {part.readers[0].width for part in parts} == {width}


def test_a_packed_projection_has_three_starts() -> None:
    cut = heads(tiny("gpt2")[0])[0].writers[0]
    assert cut.starts == (0, 32, 64)
    assert cut.channels([1]) == [*range(8, 16), *range(40, 48), *range(72, 80)]


def test_a_bias_shared_by_all_layers_couples_their_heads() -> None:
    parts = heads(tiny("mpnet")[0])
    assert len(parts) == 1 and len(parts[0].readers) == 2 and parts[0].least == 1
    assert parts[0].writers[-1].layer == "mpnet.encoder.relative_attention_bias"
    names = [part.name for part in heads(tiny("t5")[0])]
    assert len(names) == 3  # encoder, decoder, and the decoder's attention to the encoder


def test_an_attention_that_adds_its_residual_keeps_a_head() -> None:
    assert heads(tiny("albert")[0])[0].least == 1
    assert heads(tiny("bert")[0])[0].least == 0


def test_sizes_are_inputs_and_outputs() -> None:
    model = tiny("gpt2")[0]
    assert linear_sizes(model.get_submodule("transformer.h.0.mlp.c_fc")) == (32, 128)
    assert linear_sizes(tiny("bert")[0].get_submodule("bert.encoder.layer.0.intermediate.dense")) == (32, 64)
