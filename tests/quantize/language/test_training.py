from __future__ import annotations

import numpy as np
import pytest

from edgeopt.quantize.language import training
from edgeopt.quantize.language.blocks import round_blocks
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layers import Rounded, find_layers, norm_weights
from edgeopt.quantize.language.training import train_weights


@pytest.fixture
def rounded(decoder):
    """Return all matrices of the decoder, the head among them, rounded to nearest."""
    return [Rounded(layer, round_blocks(layer.weight(), bits=4, block=32)) for layer in find_layers(decoder[0])]


def _norms(model):
    return [value.const_value.numpy() for value in norm_weights(model)]


def test_all_scales_begin_where_the_layers_ended(decoder, rounded, windows, monkeypatch):
    begun = {}
    train = training.train_scales

    def seen(model, given, *others, **options):
        begun.update({one.layer.name: one.blocks for one in given})
        return train(model, given, *others, **options)

    monkeypatch.setattr(training, "train_scales", seen)
    options = LanguageTrainingOptions(whole_share=0.5, steps=12, whole_steps=3, batch_size=2)
    made = train_weights(decoder[0], rounded, decoder[1], windows, options=options)
    assert made.blocks.keys() == begun.keys() == {one.layer.name for one in rounded}
    body = [one for one in rounded if not one.layer.head]
    assert any(not np.array_equal(begun[one.layer.name].scales, one.blocks.scales) for one in body)


def test_the_model_that_is_returned_has_the_trained_norms_and_the_given_one_its_own(decoder, rounded, windows, monkeypatch):
    before = _norms(decoder[0])
    monkeypatch.setattr(training.LanguageTrainingOptions, "of_layers", None)
    monkeypatch.setattr("edgeopt.quantize.language.scale_training._Training._look", lambda self, held: next(falling))
    falling = iter((3.0, 2.0, 1.0))
    options = LanguageTrainingOptions(whole_share=1.0, whole_steps=2, batch_size=2)
    made = train_weights(decoder[0], rounded, decoder[1], windows, options=options)
    assert all(np.array_equal(*pair) for pair in zip(before, _norms(decoder[0]), strict=True))
    assert not any(np.array_equal(*pair) for pair in zip(before, _norms(made.model), strict=True))


def test_layers_alone_leave_the_model_as_it_is(decoder, rounded, windows, monkeypatch):
    monkeypatch.setattr(training, "train_scales", None)
    options = LanguageTrainingOptions(whole_share=0.0, steps=2, batch_size=2)
    made = train_weights(decoder[0], rounded, decoder[1], windows, options=options)
    assert made.model is decoder[0]


def test_a_head_alone_is_trained_with_all_scales_though_layers_have_a_share(decoder, rounded, windows):
    head = [one for one in rounded if one.layer.head]
    options = LanguageTrainingOptions(whole_share=0.5, steps=1, whole_steps=1, batch_size=2)
    assert train_weights(decoder[0], head, decoder[1], windows, options=options).blocks.keys() == {head[0].layer.name}
