from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph import files
from edgeopt.graph.generation import Generation
from edgeopt.quantize import LanguageOptions, quantize_language_model
from edgeopt.quantize.language import builder, stage, training
from edgeopt.quantize.language.blocks import round_blocks
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layers import find_layers
from edgeopt.quantize.language.stage import _bits, _check_training
from edgeopt.quantize.language.text import Likelihood, Windows
from edgeopt.quantize.language.training import TrainedWeights

HEAD = "decoder.lm_head/MatMul"


def test_a_folder_comes_out_that_says_what_it_is(folder, tmp_path):
    (folder / "tokenizer_config.json").write_text("{}")
    result = quantize_language_model(folder / "model.onnx", None, output=tmp_path / "out")
    made = tmp_path / "out"
    assert {path.name for path in result.files} == {path.name for path in made.iterdir()}
    assert {
        "model.onnx",
        "model.onnx.data",
        "generation.json",
        "genai_config.json",
        "model.plan.json",
        "model.quality.json",
        "tokenizer_config.json",
    } <= {path.name for path in made.iterdir()}
    assert Generation.beside(made) == Generation.beside(folder)
    facts = result.facts
    assert facts.size_bytes_after < facts.size_bytes_before
    assert facts.bits[HEAD] == 8, "without a text gptq does not make up for what the head loses"
    assert facts.text is None
    quality = json.loads((made / "model.quality.json").read_text())
    assert quality["perplexity"] is None
    assert quality["kl"] == facts.likelihood.kl > 0
    assert quality["guard"]["prompts"] == 8


def test_a_name_that_ends_in_onnx_is_a_file(folder, tmp_path):
    config = LanguageOptions(body_bits=8, guard_prompts=0)
    result = quantize_language_model(folder, None, output=tmp_path / "int8.onnx", config=config)
    assert result.path == tmp_path / "int8.onnx"
    assert Generation.beside(tmp_path).model == "int8.onnx"
    told = json.loads((tmp_path / "genai_config.json").read_text())
    assert told["model"]["decoder"]["filename"] == "int8.onnx"
    assert set(result.facts.bits.values()) == {8}
    assert result.facts.likelihood.kl < 1e-2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_perplexity_increase": 0.05}, "max_perplexity_increase needs text"),
        ({"exclude": ["nothing"]}, "'nothing'"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, tmp_path, options, said):
    with pytest.raises(RecipeError, match=said):
        quantize_language_model(folder, None, output=tmp_path, config=LanguageOptions(**options))


def test_what_is_no_decoder_or_quantized_already_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match=r"generation\.json: missing"):
        quantize_language_model(tmp_path / "model.onnx", None, output=tmp_path / "out")
    config = LanguageOptions(guard_prompts=0, method="rtn")
    quantize_language_model(folder, None, output=tmp_path / "once", config=config)
    with pytest.raises(ModelError, match="already quantized"):
        quantize_language_model(tmp_path / "once", None, output=tmp_path / "twice", config=config)
    with pytest.raises(RecipeError, match="is the model itself"):
        quantize_language_model(folder, None, output=folder, config=config)


@pytest.mark.parametrize(("options", "bits"), [({"method": "rtn"}, 8), ({"method": "rtn", "head_bits": 4}, 4)])
def test_a_head_that_nothing_makes_up_for_stays_at_8_bits(folder, tmp_path, options, bits):
    config = LanguageOptions(guard_prompts=0, **options)
    made = quantize_language_model(folder, None, output=tmp_path / "out", config=config)
    assert made.facts.bits[HEAD] == bits
    assert {number for name, number in made.facts.bits.items() if name != HEAD} == {4}
    assert next(decision.choice for decision in made.facts.decisions if decision.what == "embedding") == f"{bits} bits"


def test_windows_are_no_longer_than_the_models_context(folder, tmp_path):
    assert Generation.beside(folder).context == 64
    tokens = [np.arange(5, 100) for _ in range(5)]
    config = LanguageOptions(calibration_windows=2, measured_windows=1, guard_prompts=0)
    facts = quantize_language_model(folder, Windows("words", tokens), output=tmp_path, config=config).facts
    assert (facts.text, facts.likelihood.tokens) == ("words", 63)


@pytest.mark.parametrize(("has_text", "bits"), [(True, 4), (False, 8)])
def test_the_head_is_at_4_bits_where_a_text_makes_up_for_it(decoder, has_text, bits):
    assert _bits(decoder[0], LanguageOptions(), "gptq", has_text=has_text)[HEAD] == bits


def test_a_training_needs_4_bit_weights(folder, tmp_path, windows):
    train = LanguageTrainingOptions(steps=1)
    config = LanguageOptions(train=train, body_bits=8)
    with pytest.raises(RecipeError, match="body_bits = 8 leaves none"):
        quantize_language_model(folder, Windows("words", windows), output=tmp_path, config=config)


@pytest.mark.parametrize(("size", "needed"), [(4, 7), (1, 3)])
def test_a_text_that_is_too_short_to_train_on_is_told_before_anything_is_calibrated(folder, tmp_path, windows, size, needed):
    config = LanguageOptions(train=LanguageTrainingOptions(steps=1, batch_size=size))
    text = Windows("text", (2 * windows)[: needed - 1])
    with pytest.raises(RecipeError, match=rf"text has {size} windows to train on, .* a text of {needed} windows of \d+ tokens"):
        quantize_language_model(folder, text, output=tmp_path / "out", config=config)
    assert len(stage._read(Windows("text", (2 * windows)[:needed]), folder, config, length=256).training) == size + 1


def test_a_training_of_matrices_that_are_all_excluded_is_refused(decoder):
    bits = dict.fromkeys((layer.name for layer in find_layers(decoder[0]) if layer.head), 8)
    with pytest.raises(RecipeError, match="`exclude` leaves none"):
        _check_training(LanguageOptions(train=LanguageTrainingOptions()), bits)


@pytest.mark.parametrize("step", [1, 4])
def test_trained_weights_are_kept_only_where_the_measured_text_gains(folder, tmp_path, windows, monkeypatch, step):
    """Weights on every second number are trained to every number, or to every fourth."""

    def rounded(weight, *, bits, step=2, **options):
        made = round_blocks(weight, bits=bits, **options)
        return made if bits == 8 else replace(made, numbers=made.numbers // step * step)

    def trained(model, matrices, *_others, **_options):
        made = {one.layer.name: rounded(one.layer.weight(), bits=4, block=32, step=step) for one in matrices}
        return TrainedWeights(made, model)

    monkeypatch.setattr(builder, "round_blocks", rounded)
    monkeypatch.setattr(training, "train_weights", trained)
    config = LanguageOptions(method="rtn", guard_prompts=0, train=LanguageTrainingOptions())
    made = quantize_language_model(folder, Windows("words", [*windows, windows[0]]), output=tmp_path / "out", config=config)
    (told,) = [item for item in made.facts.decisions if item.what == "training"]
    assert (told.choice != "as calibrated") == (step == 1)
    assert not list((tmp_path / "out").glob("*.training"))


def test_weights_are_rounded_where_torch_is_not_installed():
    program = "import sys; sys.modules['torch'] = None; from edgeopt.quantize import quantize_language_model"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_training_without_a_text_learns_from_what_the_model_writes(folder, tmp_path):
    train = LanguageTrainingOptions(whole_share=1.0, whole_steps=2)
    config = LanguageOptions(method="rtn", guard_prompts=0, calibration_windows=6, train=train)
    made = quantize_language_model(folder, None, output=tmp_path / "out", config=config)
    (told,) = [item for item in made.facts.decisions if item.what == "training"]
    assert "12 windows" in told.choice or "gained nothing" in told.reason


def test_excluded_matrices_stay_in_floating_point_where_layers_are_lifted(folder, tmp_path, windows, monkeypatch):
    monkeypatch.setattr(stage, "compare", lambda *_: Likelihood(1, 1.0, 2.0, 0.0, 1.0))
    excluded = next(layer.name for layer in find_layers(files.load(folder / "model.onnx")) if not layer.head)
    config = LanguageOptions(method="rtn", guard_prompts=0, max_perplexity_increase=0.1, exclude=[excluded])
    made = quantize_language_model(folder, Windows("words", windows), output=tmp_path / "out", config=config)
    assert made.facts.lifted
    assert excluded not in made.facts.bits
    kinds = {node.name: node.op_type for node in files.load(made.path).graph}
    assert kinds[excluded] == "MatMul"
