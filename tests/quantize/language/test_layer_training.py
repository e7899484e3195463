"""4-bit weights trained layer by layer: what it gains, and how it ends, resumes and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph.exposed import ExposedModel
from edgeopt.quantize.language import layer_training
from edgeopt.quantize.language.blocks import round_blocks
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layer_training import train_layers
from edgeopt.quantize.language.layers import Rounded, find_layers
from edgeopt.quantize.language.search import grouped
from edgeopt.quantize.language.text import feeds
from edgeopt.quantize.language.torch_decoder import Constants, inputs_of

OPTIONS = LanguageTrainingOptions(steps=40, batch_size=2)


@pytest.fixture
def groups(decoder):
    """Return the matrices of each decoder layer, rounded to nearest."""
    layers = {layer.name: layer for layer in find_layers(decoder[0])}
    rounded = {name: Rounded(layer, round_blocks(layer.weight(), bits=4, block=32)) for name, layer in layers.items()}
    return [[rounded[name] for name in names] for names in grouped(list(layers.values())).values()]


def _error(decoder, groups, made, windows):
    """Return the squared error of what the body gives, as a share, with these blocks in the place of its weights."""
    model, facts = decoder
    before, parts = layer_training._parts(model, groups)
    alive = layer_training._begun(before, inputs_of(model, facts, np.stack(windows)), {})
    exact, rounded = alive.exact, alive.rounded
    with torch.no_grad():
        for part in parts:
            weights = {one.layer.node.inputs[1]: torch.from_numpy(made[one.layer.name].matrix().T) for one in part.matrices}
            exact, rounded = (part.forward(exact, {}, _constants()), part.forward(rounded, weights, _constants()))
    (target,) = parts[-1].targets
    return float(torch.square(exact[target] - rounded[target]).sum() / torch.square(exact[target]).sum())


def _constants():
    return Constants()


def test_a_layer_ends_where_one_tensor_is_alive_and_gives_what_onnxruntime_gives(decoder, groups, windows):
    model, facts = decoder
    before, parts = layer_training._parts(model, groups)
    batch = layer_training._begun(before, inputs_of(model, facts, np.stack(windows[:2])), {})
    alive = batch.exact
    with torch.no_grad():
        for part in parts:
            alive = part.forward(alive, {}, _constants())
    names = [value.name for value in parts[-1].targets]
    exact = ExposedModel(model, names, threads=1)(feeds(facts, np.stack(windows[:2])), sample=0)
    assert len(parts) == len(groups) == facts.layers
    for value in parts[-1].targets:
        assert np.abs(alive[value].numpy() - exact[value.name]).max() < 1e-4
    assert not any("present" in value.name for value in alive), "the caches of layers that are done stay in memory"


def test_training_makes_the_error_smaller_and_keeps_zero_points(decoder, groups, windows):
    start = {one.layer.name: one.blocks for group in groups for one in group}
    made = train_layers(decoder[0], groups, decoder[1], windows, options=OPTIONS)
    assert made.keys() == start.keys()
    before, after = (_error(decoder, groups, blocks, windows) for blocks in (start, made))
    assert after < 0.8 * before
    for name, blocks in made.items():
        assert blocks.numbers.dtype == np.uint8
        assert blocks.numbers.max() <= 15
        assert np.array_equal(blocks.zeros, start[name].zeros)
        assert (blocks.scales > 0).all()


def test_weights_begin_at_the_integers_that_were_chosen(decoder, groups):
    chosen = groups[0][0]
    numbers = chosen.blocks.numbers.copy()
    numbers[0, 0, :4] = 15 - numbers[0, 0, :4]
    moved = Rounded(chosen.layer, replace(chosen.blocks, numbers=numbers))
    assert np.array_equal(layer_training._Matrix(moved).blocks().numbers, numbers)


def test_a_run_that_was_killed_goes_on_behind_the_last_layer(decoder, groups, windows, tmp_path, monkeypatch):
    options = OPTIONS.model_copy(update={"checkpoint": tmp_path / "state", "steps": 4})
    whole = train_layers(decoder[0], groups, decoder[1], windows, options=OPTIONS.model_copy(update={"steps": 4}))
    monkeypatch.setattr("edgeopt.quantize.training.checkpoint._EVERY_S", 0)
    train, calls = layer_training._train, []

    def once(part, *others, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(part)
        train(part, *others, **options)

    monkeypatch.setattr(layer_training, "_train", once)
    with pytest.raises(KeyboardInterrupt):
        train_layers(decoder[0], groups, decoder[1], windows, options=options)
    calls.clear()
    resumed = train_layers(decoder[0], groups, decoder[1], windows, options=options)
    assert len(calls) == len(groups) - 1
    for name, blocks in whole.items():
        assert np.array_equal(resumed[name].numbers, blocks.numbers)


def test_too_little_text_or_time_is_refused(decoder, groups, windows):
    with pytest.raises(RecipeError, match="1 windows of text are too few"):
        train_layers(decoder[0], groups, decoder[1], windows[:1], options=OPTIONS)
    short = LanguageTrainingOptions(time=1e-4, batch_size=2)
    with pytest.raises(RecipeError, match=r"a layer gets .* s, and a step takes .* s here"):
        train_layers(decoder[0], groups, decoder[1], windows, options=short)


def test_an_operator_without_a_form_in_pytorch_is_refused_by_name(parse_text):
    model = parse_text("net (float[n, 8] x) => (float[n, 8] logits) { y = MatMul (x, w) logits = Det (y) }", w=(8, 8))
    with pytest.raises(ModelError, match="cannot train through Det"):
        train_layers(model, [], None, [], options=OPTIONS)
