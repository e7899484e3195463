"""Layers are dropped in the order of what their absence costs."""

from __future__ import annotations

import pytest
import torch

from edgeopt.data.samples import from_arrays
from edgeopt.errors import RecipeError
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.layers import _least, drop_layers
from edgeopt.prune.surgery import outputs_of
from tests.prune.tiny_models import texts, tiny


@torch.no_grad()
def _deaf(model: torch.nn.Module, place: int) -> None:
    """Make a layer of a ViT give back what it gets."""
    layer = model.get_submodule(f"vit.layers.{place}")
    for last in (layer.attention.o_proj, layer.mlp.fc2):
        last.weight.zero_()
        last.bias.zero_()


@pytest.mark.parametrize("idle", [0, 1])
def test_the_layer_that_does_nothing_goes_first(idle: int) -> None:
    model, batch, _ = tiny("vit")
    _deaf(model, idle)
    before = outputs_of(model, batch)[0]
    shape, gone = drop_layers(model, from_arrays(batch), anatomy_of(model), count=1)
    assert gone == {"vit.layers": (idle,)} and shape.layers == {"vit.layers": (1 - idle,)}
    assert model.config.num_hidden_layers == 1
    torch.testing.assert_close(outputs_of(model, batch)[0], before)


def test_layers_of_a_decoder_are_numbered_anew() -> None:
    model, batch, _ = tiny("llama")
    drop_layers(model, texts(), anatomy_of(model), count=1)
    assert model.get_submodule("model.layers.0").self_attn.layer_idx == 0
    assert len(outputs_of(model, batch)) == 1


def test_a_stack_keeps_a_layer() -> None:
    model = tiny("bert")[0]
    with pytest.raises(RecipeError, match="at most 1 can be removed"):
        drop_layers(model, texts(), anatomy_of(model), count=2)
    assert len(model.get_submodule("bert.encoder.layer")) == 2


def test_only_places_that_could_be_better_are_judged_again() -> None:
    known = {("layers", place): value for place, value in enumerate((0.9, 0.1, 0.2, 0.5))}
    now = {0: 1.0, 1: 0.6, 2: 0.3, 3: 0.7}
    asked = []

    def judge(_stack: str, layer: int) -> float:
        asked.append(layer)
        return now[layer]

    assert _least(known, judge) == ("layers", 2)
    assert asked == [1, 2], "0.3 is the least, and the others were 0.5 and more before"
    assert known == {("layers", 0): 0.9, ("layers", 1): 0.6, ("layers", 2): 0.3, ("layers", 3): 0.5}
