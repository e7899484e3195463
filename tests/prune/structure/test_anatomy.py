"""The anatomy: places in stacks, layers left out, and errors that say how to give a rule."""

from __future__ import annotations

import pytest
from torch import nn

from edgeopt.errors import ModelError, RecipeError
from edgeopt.prune.structure.anatomy import anatomy_of, count
from edgeopt.prune.structure.names import Rule
from edgeopt.prune.structure.parts import Kind
from tests.prune.tiny_models import tiny


class _Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"grow": nn.Linear(4, 8), "shrink": nn.Linear(8, 4)}) for _ in range(2)])


def test_parts_know_their_place() -> None:
    anatomy = anatomy_of(tiny("bert")[0])
    assert [(part.kind, part.stack, part.place) for part in anatomy.parts] == [
        (kind, "bert.encoder.layer", place) for place in (0, 1) for kind in (Kind.HEADS, Kind.NEURONS)
    ]
    assert anatomy.stacks == {"bert.encoder.layer": 2} and count(anatomy.parts, Kind.NEURONS) == 128
    assert anatomy.part("bert.encoder.layer.1").units == 64


def test_a_pattern_keeps_layers() -> None:
    left = anatomy_of(tiny("bert")[0], ignore=["*.layer.0"]).parts
    assert {part.place for part in left} == {1}


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"prune.ignore names 'bert.encoder.layer.7', which the model does not have"):
        anatomy_of(tiny("bert")[0], ignore=["bert.encoder.layer.7"])


def test_a_module_without_a_rule_is_named_and_a_rule_finds_it() -> None:
    with pytest.raises(ModelError, match=r"blocks.0 \(ModuleDict\).*rules="):
        anatomy_of(_Own())
    found = anatomy_of(_Own(), rules=[Rule(writers=["grow"], reader="shrink")])
    assert [part.name for part in found.parts] == ["blocks.0", "blocks.1"]
    with pytest.raises(RecipeError, match=r"no module has the linear layers \['up'\] and 'down'"):
        anatomy_of(_Own(), rules=[Rule(writers=["up"], reader="down")])
