"""A model.json of a pruned transformer: nothing in it runs, and wrong ones are refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgeopt.errors import ModelError
from edgeopt.models.load import Origin, load_model
from edgeopt.models.reshape import Shape, followed, reshape
from edgeopt.models.reshaped import BUILDER, arguments_of
from edgeopt.models.save import save_model
from tests.prune.tiny_models import tiny

_SHAPE = Shape(
    layers={"bert.encoder.layer": (1,)},
    kept={
        "bert.encoder.layer.0.intermediate.dense": {"out": [1, 5]},
        "bert.encoder.layer.0.output.dense": {"in": [1, 5]},
    },
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model, _, task = tiny("bert")
    config = copy.deepcopy(model.config)
    reshape(model, _SHAPE)
    save_model(model, tmp_path, origin=Origin(BUILDER, arguments_of(model, config, _SHAPE), _SHAPE.kept, task))
    return tmp_path


def test_the_folder_loads_without_a_builder_being_named(folder: Path) -> None:
    loaded = load_model(folder)
    assert loaded.task == "text-classification" and loaded.origin is not None
    assert len(loaded.module.get_submodule("bert.encoder.layer")) == 1
    assert tuple(loaded.module.get_submodule("bert.encoder.layer.0.output.dense").weight.shape) == (32, 2)
    assert not any(tensor.is_meta for tensor in [*loaded.module.parameters(), *loaded.module.buffers()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update({"class": "Trainer"}), "'Trainer' is not one of transformers' models"),
        (lambda a: a.update({"class": "GPT2LMHeadModel"}), "not a model of the kind 'bert'"),
        (lambda a: a["config"].update(auto_map={"AutoModel": "x--y.Z"}), "names code, which is not run"),
        (lambda a: a["config"].update(attn_implementation="kernels/flash"), "names code, which is not run"),
        (lambda a: a["config"].update(model_type="berd"), "of the kind 'berd' cannot be read"),
        (lambda a: a["config"].update(hidden_size=2**16, intermediate_size=2**18), "its configuration asks for"),
        (lambda a: a["config"].update(hidden_size=48, num_attention_heads=4), "its weights do not fit"),
        (lambda a: a.update(layers={"bert.encoder.layer": [7]}), "must be at least one of 0 to 1"),
        (lambda a: a.update(layers={"bert.pooler": [0]}), "no stack of layers 'bert.pooler'"),
        (lambda a: a.update(sizes={"bert": {"__class__": 3}}), "the number '__class__' of 'bert' cannot be set"),
        (lambda a: a.update(empty={"bert.nothing": {"outputs": 0, "whole": True, "width": 1}}), "no layer 'bert.nothing'"),
        (lambda a: a["config"].update(hidden_size="32"), "of the kind 'bert' cannot be read: Validation error"),
        (lambda a: a["config"].update(num_hidden_layers=10**9), "asks for 1,000,000,000 layers"),
        (lambda a: a.update(empty={"bert.embeddings": {"outputs": 0, "whole": True, "width": 1}}), "no output projection"),
        (lambda a: a.update(more=1), "its arguments cannot be read: more"),
    ],
)
def test_wrong_files_are_refused(folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    record = json.loads((folder / "model.json").read_text())
    change(record["arguments"])
    (folder / "model.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match=message) as found:
        load_model(folder)
    assert str(folder) in str(found.value) and "\n" not in str(found.value)


def test_shapes_that_follow_each_other_are_one_shape() -> None:
    model, _, _ = tiny("bert")
    first = Shape(
        kept={
            f"bert.encoder.layer.{layer}.{name}": {side: list(range(layer, 64, 2))}
            for layer in (0, 1)
            for name, side in (("intermediate.dense", "out"), ("output.dense", "in"))
        }
    )
    twice = copy.deepcopy(model)
    reshape(twice, first)
    reshape(twice, _SHAPE)
    together = followed(first, _SHAPE)
    assert together.kept["bert.encoder.layer.0.output.dense"]["in"] == [3, 11]
    reshape(model, together)
    pairs = zip(model.state_dict().items(), twice.state_dict().items(), strict=True)
    assert all(one[0] == other[0] and torch.equal(one[1], other[1]) for one, other in pairs)


def test_integers_are_no_weights_of_a_layer(folder: Path) -> None:
    weights = {name: tensor.to(torch.int8) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="its weights do not fit BertForSequenceClassification"):
        load_model(folder)
