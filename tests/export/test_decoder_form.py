"""Decoders over a shared cache: every family decodes as PyTorch does, ragged texts too, at the asked positions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from edgeopt.export import ExportConfig, export
from edgeopt.export.decoder_form import divergence
from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.graph import files
from edgeopt.graph.generation import Generation
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.targets.target import load_target

TARGET = load_target("x86-vnni")
WIDE = {
    "llama": {},
    "qwen2": {},
    "mistral": {"sliding_window": 6, "head_dim": 16},
    "gpt2": {},
    "opt": {"word_embed_proj_dim": 64},
}
WIDE |= {"qwen3": {"head_dim": 16}, "gemma": {"head_dim": 16}, "smollm3": {"num_hidden_layers": 4}}
WIDE |= {"phi": {"hidden_size": 128}, "glm": {}}


def tiny(name, **changes):
    family = load_family(name)
    width = {"n_embd": 64} if name == "gpt2" else {"hidden_size": 64}
    config = {**family.tiny, **width, **WIDE.get(name, {}), **changes}
    return tiny_model(replace(family, tiny=config), "text-generation")


def exported(model, folder, **options):
    config = ExportConfig(task="text-generation", context=64, parity_samples=1, **options)
    return export(model, None, target=TARGET, output=folder, config=config)


def operators(path):
    return [node.op_type for node in files.load(path).graph]


@pytest.mark.parametrize("name", list(WIDE))
def test_a_family_decodes_over_one_buffer_as_pytorch_does(tmp_path, name):
    model = tiny(name)
    result = exported(model, tmp_path)
    assert result.decoder == "decoder-cpu", result.warnings
    assert result.decoding is not None
    assert result.decoding.same_tokens == result.decoding.tokens == 24
    assert result.decoding.kl < 1e-9
    found = operators(tmp_path / "model.onnx")
    assert found.count("GroupQueryAttention") == model.config.num_hidden_layers
    assert not {"Attention", "RotaryEmbedding", "Concat"} & set(found) - (
        {"Concat"} if name in {"qwen3", "gpt2", "opt"} else set()
    )
    facts = Generation.beside(tmp_path)
    assert (facts.layers, facts.shared_cache) == (model.config.num_hidden_layers, True)
    assert facts.window == (6 if name == "mistral" else 0)
    assert (facts.inputs.positions is None) == (name not in {"gpt2", "opt"})


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    model = tiny("llama")
    exported(model, folder)
    return model, folder, open_session(folder / "model.onnx", config=SessionConfig(threads=1))


def exact_logits(model, text):
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(text), use_cache=False).logits.numpy()


def test_logits_come_for_the_last_position_or_those_that_are_asked_for(llama):
    model, folder, session = llama
    text = np.arange(7, 19)[None]
    facts = Generation.beside(folder)
    empty = {
        name % layer: np.zeros((1, facts.kv_heads, 0, facts.head_size), np.float32)
        for layer in range(facts.layers)
        for name in (facts.inputs.past_key, facts.inputs.past_value)
    }
    given = {"input_ids": text, "attention_mask": np.ones_like(text), **empty}
    exact = exact_logits(model, text)
    last = session.run(["logits"], given)[0]
    np.testing.assert_allclose(last, exact[:, -1:], atol=1e-4)
    some = session.run(["logits"], {**given, "logits_positions": np.array([3, -2])})[0]
    np.testing.assert_allclose(some, exact[:, [3, -2]], atol=1e-4)


def test_padding_on_the_right_hides_nothing_of_a_shorter_text(llama):
    model, folder, session = llama
    facts = Generation.beside(folder)
    texts = [np.arange(5, 17)[None], np.arange(30, 37)[None]]
    fresh = np.array([[50], [51]])
    buffers = {}
    for layer in range(facts.layers):
        for name in (facts.inputs.past_key, facts.inputs.past_value):
            buffers[name % layer] = np.zeros((2, facts.kv_heads, 20, facts.head_size), np.float32)
    for row, text in enumerate(texts):
        bound(
            session,
            {"input_ids": text, "attention_mask": np.ones_like(text)},
            {k: v[row : row + 1] for k, v in buffers.items()},
        )
    mask = np.array([[1] * 13, [1] * 8 + [0] * 5])
    logits = bound(session, {"input_ids": fresh, "attention_mask": mask}, buffers)
    for row, text in enumerate(texts):
        exact = exact_logits(model, np.concatenate([text, fresh[row : row + 1]], axis=1))
        np.testing.assert_allclose(logits[row, -1], exact[0, -1], atol=1e-4)


def bound(session, given, buffers):
    binding = session.io_binding()
    for name, array in given.items():
        binding.bind_cpu_input(name, array)
    for name, array in buffers.items():
        value = ort.OrtValue.ortvalue_from_numpy(array)
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
    binding.bind_output("logits")
    session.run_with_iobinding(binding)
    return binding.get_outputs()[-1].numpy()


def test_a_decoder_without_a_cache_of_its_own_kind_stays_portable_and_says_why(tmp_path):
    result = exported(tiny("llama", head_dim=16), tmp_path / "apart", attention="decomposed")
    assert result.decoder == "portable"
    asked = exported(tiny("llama"), tmp_path / "asked", decoder="portable")
    assert asked.decoder == "portable"
    assert asked.decoding is None
    assert Generation.beside(tmp_path / "asked").inputs.positions == "position_ids"


def test_narrow_heads_are_rotated_before_the_kernel(tmp_path):
    model = tiny("llama", hidden_size=32)
    result = exported(model, tmp_path)
    assert result.decoder == "decoder-cpu"
    assert operators(tmp_path / "model.onnx").count("RotaryEmbedding") == 4
    assert Generation.beside(tmp_path).inputs.positions == "position_ids"


def test_context_bounds_the_rotary_tables(llama):
    _, folder, _ = llama
    tables = [value for name, value in files.load(folder / "model.onnx").graph.initializers.items() if "rotary" in name]
    assert [value.shape for value in tables] == [ir.Shape([64, 8])] * 2
    assert Generation.beside(folder).context == 64


def test_genai_is_told_the_same(llama):
    _, folder, _ = llama
    facts, told = Generation.beside(folder), json.loads((folder / "genai_config.json").read_text())
    decoder = told["model"]["decoder"]
    assert (decoder["num_hidden_layers"], decoder["head_size"], decoder["num_key_value_heads"]) == (
        facts.layers,
        facts.head_size,
        facts.kv_heads,
    )
    assert told["search"]["past_present_share_buffer"] is True
    assert set(decoder["inputs"].values()) <= {
        "input_ids",
        "attention_mask",
        "past_key_values.%d.key",
        "past_key_values.%d.value",
    }


def test_divergence_is_zero_only_between_equal_distributions():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 11))
    assert divergence(logits, logits + 3.0) == pytest.approx(0.0, abs=1e-12)
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    assert divergence(np.log(p), np.log(q)) == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1))
