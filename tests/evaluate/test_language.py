"""Perplexity and KL: those of PyTorch on the same windows."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeopt.errors import DataError
from edgeopt.evaluate.language import _perplexity, evaluate_language
from edgeopt.generate.engine.engine import Engine
from tests.cli.conftest import edgeopt_here, exported
from tests.generate.conftest import TEXT


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    hub, folder = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("model")
    return hub, exported(hub, folder)


@pytest.fixture(scope="module")
def changed(model: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a little noise on its largest weight."""
    folder = shutil.copytree(model[1], tmp_path_factory.mktemp("changed") / "model")
    graph = onnx.load(folder / "model.onnx")
    largest = max(graph.graph.initializer, key=lambda one: int(np.prod(one.dims)))
    array = numpy_helper.to_array(largest)
    noise = np.random.default_rng(0).normal(size=array.shape) * 0.02
    largest.CopyFrom(numpy_helper.from_array((array + noise).astype(array.dtype), largest.name))
    onnx.save(graph, folder / "model.onnx")
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT * 2, encoding="utf-8")
    return tmp_path / "text.txt"


def test_perplexity_is_that_of_pytorch(model: tuple[Path, Path], text: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    found = evaluate_language([model[1]], text, window=100)
    ids = Engine.open(model[1]).tokens.encode(text.read_text(encoding="utf-8"))
    parts = [ids[start : start + 100] for start in range(0, len(ids), 100)]
    theirs: Any = AutoModelForCausalLM.from_pretrained(model[0]).eval()
    loss = count = 0.0
    for part in parts:
        if len(part) > 1:
            with torch.no_grad():
                loss += float(theirs(torch.tensor([part]), labels=torch.tensor([part])).loss) * (len(part) - 1)
            count += len(part) - 1
    assert found.tokens == count
    assert found.models[0].perplexity == pytest.approx(math.exp(loss / count), rel=1e-4)


def test_distances_are_from_the_first(model: tuple[Path, Path], changed: Path, text: Path) -> None:
    found = evaluate_language([model[1], model[1], changed], text, windows=2, window=80)
    first, same, other = found.models
    assert (first.kl, first.agreement, first.perplexity_increase) == (None, 1.0, None)
    assert (same.kl, same.agreement, same.perplexity_increase) == (pytest.approx(0, abs=1e-9), 1.0, 0.0)
    assert other.kl is not None
    assert other.agreement is not None
    assert other.kl > 1e-4
    assert 0.5 < other.agreement < 1
    assert found.windows == 2
    one, two = (Engine.open(path) for path in (model[1], changed))
    ids = one.tokens.encode(text.read_text(encoding="utf-8"))[:80]
    logs = [
        np.log(np.exp(x) / np.exp(x).sum(-1, keepdims=True)) for x in (e.logits(ids).astype(np.float64) for e in (one, two))
    ]
    kl = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(-1)[:-1].mean()
    alone = evaluate_language([model[1], changed], text, windows=1, window=80).models[1]
    assert alone.kl == pytest.approx(kl, rel=1e-3)


def test_the_command_prints_both(model: tuple[Path, Path], changed: Path, text: Path) -> None:
    done = edgeopt_here("evaluate", str(model[1]), str(changed), "--data", str(text), "--task", "text-generation", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "perplexity" in done.stdout
    done = edgeopt_here("evaluate", str(model[1]), str(changed), "--data", str(text), "--format", "json", "--limit", "1", "-q")
    values = json.loads(done.stdout)
    assert values["task"] == "text-generation"
    assert values["models"][1]["kl"] > 0
    assert [one["name"] for one in values["models"]] == [model[1].name, changed.parent.name]
    for one in values["models"]:
        assert one["metric"] == "perplexity"
        assert one["low"] <= one["value"] == one["perplexity"] <= one["high"]
        assert 0 < one["agreement"] <= 1
    assert values["models"][0]["difference"] is None
    gap = values["models"][1]["value"] - values["models"][0]["value"]
    assert values["models"][1]["difference"]["difference"] == pytest.approx(gap)


def test_the_interval_is_of_windows_drawn_again(model: tuple[Path, Path], text: Path) -> None:
    found = evaluate_language([model[1]], text, window=40).models[0]
    assert found.low < found.value < found.high
    narrow = evaluate_language([model[1]], text, window=40, confidence=0.5).models[0]
    assert found.low < narrow.low < narrow.high < found.high


def test_pytorch_beside_an_exported_folder(model: tuple[Path, Path], text: Path) -> None:
    asked = ["--data", f"{text}?max_length=64", "--task", "text-generation", "--format", "json", "-q"]
    done = edgeopt_here("evaluate", str(model[0]), str(model[1]), *asked)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["models"]
    assert second["value"] == pytest.approx(first["value"], rel=1e-4)
    assert second["agreement"] > 0.99
    alone = json.loads(edgeopt_here("evaluate", str(model[1]), *asked).stdout)
    whole = len(Engine.open(model[1]).tokens.encode(text.read_text(encoding="utf-8"), special=False))
    assert alone["windows"] in {whole // 64, whole // 64 + 1}, "windows are as long as the source says"


def test_texts_that_cannot_be_compared(model: tuple[Path, Path], text: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("a")
    with pytest.raises(DataError, match="at least 2 are needed"):
        evaluate_language([model[1]], tmp_path / "short.txt")
    with pytest.raises(DataError, match="cannot be read as a text file"):
        evaluate_language([model[1]], tmp_path / "absent.txt")
    other = shutil.copytree(model[1], tmp_path / "other")
    values = json.loads((other / "tokenizer.json").read_text())
    values["model"]["merges"] = values["model"]["merges"][:5]
    (other / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="cuts the text into other tokens"):
        evaluate_language([model[1], other], text)


def test_the_perplexity_of_a_broken_model_is_infinite() -> None:
    assert _perplexity(20.0, 10) == pytest.approx(7.389, abs=1e-3)
    assert _perplexity(1e6, 10) == float("inf")
