"""Cuts count channels from their starts; a mask zeroes what reads the units that go."""

from __future__ import annotations

import torch
from torch import nn

from edgeopt.prune.structure.parts import Cut, Kind, Part, mask, merged, rows_of, set_rows
from tests.prune.tiny_models import tiny


def test_a_mask_zeroes_the_readers_columns() -> None:
    model = nn.ModuleDict({"down": nn.Linear(6, 2)})
    nn.init.ones_(model["down"].weight)
    mask(model, Part("x", Kind.HEADS, 3, (), (Cut("down", "in", 2),)), (1,))
    assert rows_of(model["down"])[0].tolist() == [0, 0, 1, 1, 0, 0]


def test_rows_of_a_transposed_layer_are_outputs_by_inputs() -> None:
    layer = tiny("gpt2")[0].get_submodule("transformer.h.0.mlp.c_proj")
    rows = rows_of(layer).clone()
    assert tuple(rows.shape) == (32, 128)
    set_rows(layer, rows * 2)
    torch.testing.assert_close(rows_of(layer), rows * 2)


def test_merged_parts_have_all_cuts_once_and_cannot_be_emptied() -> None:
    one = Part("a", Kind.NEURONS, 4, (Cut("up", "out", 1),), (Cut("down", "in", 1),), stack="s", place=0)
    two = Part("b", Kind.NEURONS, 4, (Cut("up", "out", 1),), (Cut("other", "in", 1),), stack="s", place=1)
    both = merged([one, two])
    assert [cut.layer for cut in both.cuts()] == ["up", "down", "other"] and both.least == 1 and both.stack == ""
