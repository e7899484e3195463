"""Scales of all matrices trained at once: what that gains, what stays, and how it ends, resumes and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph import files
from edgeopt.graph.editing import copied
from edgeopt.graph.exposed import ExposedModel
from edgeopt.quantize.language import scale_training, stage
from edgeopt.quantize.language.blocks import round_blocks
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layers import Rounded, find_layers, norm_weights
from edgeopt.quantize.language.scale_training import train_scales
from edgeopt.quantize.language.text import feeds

OPTIONS = LanguageTrainingOptions(whole_steps=30, batch_size=4, whole_learning_rate=0.01)


@pytest.fixture(scope="module")
def windows():
    """Return windows of random tokens, enough to train on."""
    return list(np.random.default_rng(0).integers(5, 100, (80, 32)))


@pytest.fixture
def rounded(decoder):
    """Return all matrices of the decoder, rounded to nearest, with scales that are up to 30 % too large or too small."""
    random = np.random.default_rng(0)
    made = []
    for layer in find_layers(decoder[0]):
        blocks = round_blocks(layer.weight(), bits=4, block=32)
        wrong = random.uniform(0.7, 1.3, blocks.scales.shape).astype(np.float32)
        made.append(Rounded(layer, replace(blocks, scales=blocks.scales * wrong)))
    return made


def test_in_pytorch_the_decoder_gives_the_logits_that_onnxruntime_gives(decoder, rounded, windows):
    model, facts = decoder
    with torch.no_grad():
        made = scale_training._Decoder(model, facts, rounded).exact(np.stack(windows[:2]))
    wanted = ExposedModel(model, ["logits"], threads=1)(feeds(facts, np.stack(windows[:2])), sample=0)["logits"]
    assert np.abs(made.numpy() - wanted).max() < 1e-3


def test_training_brings_the_probabilities_nearer_and_moves_scales_and_norms_alone(decoder, rounded, windows):
    made = train_scales(decoder[0], rounded, decoder[1], windows, options=OPTIONS)
    assert made.steps == 30
    assert made.after < 0.8 * made.before
    assert made.blocks.keys() == {one.layer.name for one in rounded}
    for one in rounded:
        blocks = made.blocks[one.layer.name]
        assert np.array_equal(blocks.numbers, one.blocks.numbers)
        assert np.array_equal(blocks.zeros, one.blocks.zeros)
        assert not np.array_equal(blocks.scales, one.blocks.scales)
    assert made.norms.keys() == {value.name for value in norm_weights(decoder[0])}
    assert any(
        np.abs(values - decoder[0].graph.initializers[name].const_value.numpy()).max() > 0
        for name, values in made.norms.items()
    )


def test_an_embedding_that_is_the_head_is_trained_as_one(decoder, rounded, windows):
    """Its gradient comes from both places: with the head's scales doubled, embedded tokens are doubled, too."""
    model, facts = decoder
    network = scale_training._Decoder(model, facts, rounded)
    head = next(one for one in network._each() if one.layer.head)
    with torch.no_grad():
        before = network(np.stack(windows[:1]))
        head.ratio.mul_(2.0)
        after = network(np.stack(windows[:1]))
    assert (after / before).std() > 0.01, "doubled logits alone: the embedding is another tensor"


def test_products_that_shared_a_constant_all_learn(decoder, windows, tmp_path):
    """As in decoders that use each block twice: the scales of the first product were never trained, and then written."""
    shared = copied(decoder[0])
    one, other = [layer for layer in find_layers(shared) if layer.weight().shape == (64, 64)][:2]
    other.node.replace_input_with(1, one.node.inputs[1])
    files.save(shared, tmp_path / "model.onnx")
    model = stage._loaded(tmp_path / "model.onnx")
    rounded = [Rounded(layer, round_blocks(layer.weight(), bits=4, block=32)) for layer in find_layers(model)]
    network = scale_training._Decoder(model, decoder[1], rounded)
    batch = np.stack(windows[:2])
    scale_training._divergence(network.exact(batch), network(batch)).backward()
    assert all(matrix.ratio.grad is not None and matrix.ratio.grad.abs().max() > 0 for matrix in network._each())


def test_the_gradient_of_a_scale_is_that_of_its_product():
    numbers = torch.tensor([[1, -2], [3, 0]], dtype=torch.int8)
    scales = torch.tensor([0.5, 2.0], requires_grad=True)
    made = scale_training._Product.apply(numbers, scales)
    made.backward(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]))
    assert made.tolist() == [[0.5, -1.0], [6.0, 0.0]]
    assert scales.grad.tolist() == [1 - 20, 300]


def test_a_run_that_was_killed_goes_on_where_it_was(decoder, rounded, windows, tmp_path, monkeypatch):
    options = OPTIONS.model_copy(update={"checkpoint": tmp_path / "state"})
    monkeypatch.setattr("edgeopt.quantize.training.checkpoint._EVERY_S", 0)
    step, calls = scale_training._Training._step, []

    def killed(self, *arguments):
        if len(calls) == 15:
            raise KeyboardInterrupt
        calls.append(arguments)
        return step(self, *arguments)

    monkeypatch.setattr(scale_training._Training, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_scales(decoder[0], rounded, decoder[1], windows, options=options)
    monkeypatch.setattr(scale_training._Training, "_step", step)
    made = train_scales(decoder[0], rounded, decoder[1], windows, options=options)
    assert made.steps == 30
    assert made.after < made.before


def test_too_little_text_or_time_is_refused(decoder, rounded, windows):
    with pytest.raises(RecipeError, match="1 windows of text are too few"):
        train_scales(decoder[0], rounded, decoder[1], windows[:1], options=OPTIONS)
    short = LanguageTrainingOptions(time=1e-4)
    with pytest.raises(RecipeError, match=r"are left for all scales at once, and a step takes .* s here"):
        train_scales(decoder[0], rounded, decoder[1], windows, options=short)


def test_a_loss_that_is_no_number_is_refused_with_what_to_lower(decoder, rounded, windows, monkeypatch):
    monkeypatch.setattr(scale_training, "_divergence", lambda exact, made: (made - exact).sum() * float("nan"))
    with pytest.raises(ModelError, match=r"not finite; learn more slowly: --set train\.whole_learning_rate"):
        train_scales(decoder[0], rounded, decoder[1], windows, options=OPTIONS)


def test_a_head_with_a_copy_of_the_embedding_is_rounded_in_both_places(decoder, rounded):
    """Exporters turn small embeddings over for the head: what its product reads is another constant."""
    head = next(one for one in scale_training._Decoder(*decoder, rounded)._each() if one.layer.head)
    source, read = head.layer.source, head.layer.node.inputs[1]
    values = head.values()
    assert values.keys() == {source, read}
    assert source is not read
    assert torch.equal(values[read], values[source].t())
