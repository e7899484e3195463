"""Shapes: layers are renumbered, stand-ins keep the form of results, shared weights stay shared."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.models.reshape import Constant, Empty, Nothing, Shape, fitting_config, reshape
from tests.prune.tiny_models import tiny


def test_stand_ins_return_what_was_there() -> None:
    hidden = torch.randn(2, 3, 8)
    assert Nothing(Empty(width=2))(hidden).shape == (2, 3, 2)
    first, second = Nothing(Empty(outputs=2))(hidden_states=hidden)
    assert first.shape == (2, 3, 1) and second is None
    bias = torch.arange(5.0)
    assert torch.equal(Constant(bias, 5)(hidden)[1, 2], bias)
    value, *rest = Constant(None, 5, outputs=3)(hidden)
    assert not value.any() and value.shape == (2, 3, 5) and rest == [None, None]


def test_tied_embeddings_stay_tied() -> None:
    model, _, _ = tiny("gpt2")
    rows = list(range(0, 100, 2))
    kept = {"transformer.wte": {"rows": rows}, "lm_head": {"out": rows}}
    before = model.get_submodule("transformer.wte").weight[4].clone()
    reshape(model, Shape(kept=kept))
    assert model.lm_head.weight is model.transformer.wte.weight
    assert torch.equal(model.lm_head.weight[2], before)


def test_what_does_not_exist_is_refused() -> None:
    model, _, _ = tiny("bert")
    with pytest.raises(ModelError, match=r"no layer 'bert\.x'"):
        reshape(model, Shape(empty={"bert.x": Empty()}))
    with pytest.raises(ModelError, match="at least one of 0 to 1"):
        reshape(model, Shape(layers={"bert.encoder.layer": ()}))


def test_a_configuration_must_give_exactly_these_weights() -> None:
    model, _, _ = tiny("bert")
    assert fitting_config(model, model.config, [{"num_hidden_layers": 3}]) is None
    assert fitting_config(model, model.config, [{"hidden_size": 7}, {}]) is not None
    assert isinstance(model.get_submodule("classifier"), nn.Linear)
