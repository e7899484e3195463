"""What describes a decoder: edgeopt's file, onnxruntime-genai's, transformers'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeopt.generate.engine.description import describe, find_model
from edgeopt.generate.engine.errors import FolderError

OURS = {
    "version": 1,
    "form": "decoder-cpu",
    "model": "decoder.onnx",
    "layers": 3,
    "heads": 4,
    "kv_heads": 2,
    "head_size": 8,
    "vocabulary": 100,
    "context": 64,
    "cache_type": "float16",
    "shared_cache": True,
    "eos": [2, 5],
    "bos": 1,
    "pad": None,
    "suppress": [98, 99],
    "inputs": {
        "tokens": "input_ids",
        "mask": "attention_mask",
        "positions": None,
        "asked": "logits_positions",
        "past_key": "past.%d.k",
        "past_value": "past.%d.v",
    },
    "outputs": {"logits": "logits", "present_key": "present.%d.k", "present_value": "present.%d.v"},
}
THEIRS = {
    "model": {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "context_length": 128,
        "vocab_size": 100,
        "decoder": {
            "filename": "m.onnx",
            "head_size": 8,
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "inputs": {
                "input_ids": "input_ids",
                "attention_mask": "attention_mask",
                "past_key_names": "past_key_values.%d.key",
                "past_value_names": "past_key_values.%d.value",
            },
            "outputs": {"logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value"},
        },
    },
    "search": {"past_present_share_buffer": True},
}
CONFIG = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "eos_token_id": 2, "max_position_embeddings": 77}


def folder(path: Path, **files: dict[str, Any]) -> Path:
    for name, values in files.items():
        (path / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    return path


def test_edgeopts_own_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "decoder.onnx").touch()
    found = describe(folder(tmp_path, generation=OURS, genai_config=THEIRS, config=CONFIG))
    assert (found.model.name, found.form, found.layers, found.context) == ("decoder.onnx", "decoder-cpu", 3, 64)
    assert (found.eos, found.bos, found.names.past_key, found.names.positions) == ((2, 5), 1, "past.%d.k", None)
    assert found.suppressed == (98, 99)
    assert found.cache_bytes_per_token == 2 * 3 * 2 * 8 * 2


def test_genais_file_describes_its_graph(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    found = describe(folder(tmp_path, genai_config=THEIRS, config=CONFIG))
    assert (found.form, found.shared_cache, found.context, found.eos) == ("genai", True, 128, (2,))
    assert found.names.positions is None


def test_a_configuration_of_transformers_is_enough(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    found = describe(folder(tmp_path, config=CONFIG))
    assert (found.form, found.kv_heads, found.head_size, found.context) == ("portable", 4, 8, 77)
    found = describe(folder(tmp_path, config=CONFIG, generation_config={"eos_token_id": [7, 8], "suppress_tokens": [5]}))
    assert (found.eos, found.suppressed) == ((7, 8), (5,))


def test_a_file_is_taken_with_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "any.onnx").touch()
    assert find_model(tmp_path / "any.onnx") == tmp_path / "any.onnx"
    assert find_model(tmp_path) == tmp_path / "any.onnx"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no generation.json, genai_config.json or config.json"),
        ({"generation": {**OURS, "layers": None}}, "does not describe a language model"),
        ({"generation": {key: OURS[key] for key in OURS if key != "inputs"}}, "key 'inputs' is missing"),
        ({"config": {"hidden_size": 3}}, "names no layers, heads or width"),
    ],
)
def test_what_describes_nothing_is_refused(tmp_path: Path, files: dict[str, dict[str, Any]], said: str) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(FolderError, match=said):
        describe(folder(tmp_path, **files))


def test_the_layout_of_optimum_is_told(tmp_path: Path) -> None:
    for name in ("encoder_model", "decoder_model", "decoder_with_past_model"):
        (tmp_path / f"{name}.onnx").touch()
    with pytest.raises(FolderError, match="without --layout optimum"):
        find_model(tmp_path)


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such file or folder"):
        find_model(tmp_path / "nothing")
    with pytest.raises(FolderError, match="holds no ONNX file"):
        find_model(tmp_path)
    (tmp_path / "generation.json").write_text("[1]")
    with pytest.raises(FolderError, match="must hold a JSON object"):
        find_model(tmp_path)


@pytest.mark.parametrize("name", ["../other.onnx", "/etc/passwd", "a/../../other.onnx", "m\0.onnx", "a" * 300])
@pytest.mark.parametrize("file", ["generation.json", "genai_config.json"])
def test_a_model_outside_of_the_folder_is_not_opened(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / "other.onnx").write_bytes(b"")
    folder = tmp_path / "inside"
    folder.mkdir()
    values = {"model": name} if file == "generation.json" else {"model": {"decoder": {"filename": name}}}
    (folder / file).write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(FolderError, match="which is no file of this folder; refused"):
        find_model(folder)


@pytest.mark.parametrize(
    "text",
    [
        *('{"inputs":' * 100_000, '{"inputs": {}, "outputs": {}, "form": "x", "layers": Infinity}', "\x00", "[]"),
        *('{"num_attention_heads": 0, "num_hidden_layers": 1, "hidden_size": 4}', '{"inputs": [], "outputs": []}'),
    ],
    ids=["deep", "infinite", "binary", "list", "no heads", "lists"],
)
@pytest.mark.parametrize("file", ["generation.json", "genai_config.json", "config.json"])
def test_values_that_describe_nothing_are_refused(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(FolderError, match=file):
        describe(tmp_path)


@pytest.mark.parametrize("name", ["past", "past.%d.%d", "past.%q"])
def test_names_that_do_not_count_layers_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "decoder.onnx").write_bytes(b"")
    values = {**OURS, "inputs": {**OURS["inputs"], "past_key": name}}
    (tmp_path / "generation.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(FolderError, match="names no input of each layer: it needs one %d"):
        describe(tmp_path)
