"""Models are saved without pickles and come back as they were."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.models.load import Origin, load_model
from edgeopt.models.save import TOKENIZER_FILES, check_saved, copy_tokenizer, save_model
from tests.models.conftest import saved


def test_a_saved_model_comes_back_as_it_was(tmp_path: Path) -> None:
    model = saved(tmp_path)
    loaded = load_model(tmp_path)
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(model(image), loaded.module(image))
    assert (loaded.task, loaded.labels) == ("image-classification", ("a", "b"))
    assert not loaded.module.training


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))  # type: ignore[no-any-return]


def test_tied_weights_are_saved_and_stay_tied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tied_nets", sys.modules[__name__])
    model = Tied()
    save_model(model, tmp_path, origin=Origin("tied_nets:Tied", {}))
    again = load_model(tmp_path, source_builder="tied_nets:Tied").module
    assert again.first.weight is again.second.weight  # type: ignore[union-attr]
    assert torch.equal(model(torch.ones(1, 3)), again(torch.ones(1, 3)))


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        saved(tmp_path / name)
    for file in ("model.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


class Counting(torch.nn.Module):
    """Adds a number that it keeps outside of its weights."""

    number = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.number


def test_a_model_that_keeps_something_outside_of_its_weights_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "counting_nets", sys.modules[__name__])
    model, origin, sample = Counting(), Origin("counting_nets:Counting", {}), {"x": np.zeros((1, 2), np.float32)}
    save_model(model, tmp_path / "model", origin=origin)
    check_saved(model, tmp_path / "model", origin, sample)
    model.number = 1.0
    with pytest.raises(ModelError, match=r"loaded again, gives other outputs .*counting_nets:Counting must build the same"):
        check_saved(model, tmp_path / "model", origin, sample)


def test_a_module_that_transformers_does_not_know_needs_its_origin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs its origin"):
        save_model(torch.nn.Linear(1, 1), tmp_path, origin=None)
    assert not list(tmp_path.iterdir())


def test_the_record_names_the_builder_and_what_it_was_given(tmp_path: Path) -> None:
    saved(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text(encoding="utf-8")) == {
        "format": 1,
        "builder": "edgeopt.models.residual_cnn:ResidualCNN",
        "arguments": {"width": 4},
        "kept": {},
        "task": "image-classification",
        "labels": ["a", "b"],
    }


def test_tokenizer_files_are_copied_and_nothing_else(tmp_path: Path) -> None:
    source, to = tmp_path / "source", tmp_path / "to"
    source.mkdir()
    to.mkdir()
    for name in ("tokenizer.json", "vocab.txt", "model.safetensors", "modeling.py"):
        (source / name).write_text(name, encoding="utf-8")
    copy_tokenizer(source, to)
    assert {path.name: path.read_text(encoding="utf-8") for path in to.iterdir()} == {
        "tokenizer.json": "tokenizer.json",
        "vocab.txt": "vocab.txt",
    }
    assert {"preprocessor_config.json", "chat_template.jinja"} <= set(TOKENIZER_FILES)
    copy_tokenizer(None, to)
    assert len(list(to.iterdir())) == 2
