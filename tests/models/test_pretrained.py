"""What a transformers folder names neither leads out of it nor runs, and damage of any kind is one line."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from edgeopt.errors import ModelError
from edgeopt.models.load import head_of, load_model
from edgeopt.models.new_head import new_head
from edgeopt.models.pretrained import read_config


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    sizes = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    config = transformers.BertConfig(**sizes, max_position_embeddings=8, num_labels=3)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def configured(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def indexed(folder: Path, shard: object) -> None:
    """Let the index name `shard` for every weight."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        listed = dict.fromkeys(weights.keys(), shard)
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": listed})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("shard", ["weights.bin", "../outside.safetensors", "a\\b.safetensors", "", 5])
def test_an_index_names_only_safetensors_files_of_its_folder(folder: Path, shard: object) -> None:
    indexed(folder, shard)
    torch.save({"x": Touch(folder / "owned")}, folder / "weights.bin")
    with pytest.raises(ModelError, match=r"index\.json (names|does not say)"):
        load_model(folder)
    assert not (folder / "owned").exists()


def test_shards_of_the_folder_are_read(folder: Path) -> None:
    indexed(folder, "part.safetensors")
    (folder.parent / "outside.safetensors").rename(folder / "part.safetensors")
    assert load_model(folder).module.config.num_labels == 3


def test_an_adapter_does_not_say_which_model_is_loaded(folder: Path) -> None:
    named = {"peft_type": "LORA", "base_model_name_or_path": "acme/model", "r": 2, "target_modules": ["query"]}
    (folder / "adapter_config.json").write_text(json.dumps(named), encoding="utf-8")
    with pytest.raises(ModelError, match=r"an adapter of another model.*merge"):
        load_model(folder)


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "experts_implementation"])
@pytest.mark.parametrize(
    "read",
    [load_model, lambda folder: new_head(str(folder), "text-classification", ["a", "b"]), head_of],
    ids=["load_model", "new_head", "head_of"],
)
def test_no_reader_loads_kernels_that_a_configuration_names(folder: Path, key: str, read: Callable[[Path], object]) -> None:
    configured(folder, **{key: "acme/kernel"})
    with pytest.raises(ModelError, match="names code of the hub"):
        read(folder)


@pytest.mark.parametrize(
    "read",
    [load_model, head_of, lambda folder: new_head(str(folder), "fill-mask", [])],
    ids=["load_model", "head_of", "new_head"],
)
def test_no_reader_runs_or_asks_about_code_in_the_folder(folder: Path, read: Callable[[Path], object]) -> None:
    (folder / "nets.py").write_text("import pathlib; pathlib.Path('owned').touch()", encoding="utf-8")
    configured(folder, model_type="unheard", auto_map={"AutoConfig": "nets.Config"})
    with pytest.raises(ModelError, match="contains Python code"):
        read(folder)


@pytest.mark.parametrize(
    "change",
    [
        *({"hidden_size": "abc"}, {"num_attention_heads": 0}, {"id2label": ["a"]}, {"dtype": "__import__"}),
        *({"model_type": ["a"]}, {"num_labels": "x"}, {"rope_scaling": "x"}, {"intermediate_size": [1]}),
    ],
    ids=str,
)
def test_values_of_a_wrong_kind_are_one_line(folder: Path, change: dict[str, object]) -> None:
    configured(folder, **change)
    with pytest.raises(ModelError, match="transformers cannot load it") as error:
        load_model(folder)
    assert "\n" not in str(error.value)


def test_more_layers_than_weights_are_not_built(folder: Path) -> None:
    configured(folder, num_hidden_layers=10**9)
    with pytest.raises(ModelError, match=r"1,000,000,000 layers \(num_hidden_layers\), its weights have \d+ tensors"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8 + b"{}", pickle.dumps({"a": 1}) * 20], ids=["empty", "header", "pickle"])
def test_damaged_weights_are_one_line(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged, or no \.safetensors file"):
        load_model(folder)


@pytest.mark.parametrize("text", ['{"a":' * 100_000, "{", "[]", ""], ids=["deep", "cut", "list", "empty"])
def test_a_configuration_that_is_no_configuration_is_one_line(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="model"):
        read_config(str(folder))


@pytest.mark.parametrize("architectures", [5, {"a": 1}, "BertForMaskedLM", [], [None]])
def test_an_architecture_that_is_none_leaves_the_encoder(folder: Path, architectures: object) -> None:
    configured(folder, architectures=architectures)
    assert head_of(folder) == ("feature-extraction", ("LABEL_0", "LABEL_1", "LABEL_2"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_position_embeddings": 10**9}, "asks for 32,000 MB, its weights have 0 MB"),
        ({"vocab_size": 10**8}, "asks for 1,600 MB"),
        ({"num_labels": 10**9}, r"asks for 1,000,000,000 classes \(num_labels\)"),
    ],
)
def test_a_config_that_asks_for_far_more_memory_than_its_weights_is_refused(
    folder: Path, changes: dict[str, int], said: str
) -> None:
    configured(folder, **changes)
    with pytest.raises(ModelError, match=said):
        load_model(folder)
