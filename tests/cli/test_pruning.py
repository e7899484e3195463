"""`edgeopt prune` of a transformer from the shell: what scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import transformers
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.cli.pruning import seconds_of, share_of
from edgeopt.errors import RecipeError
from edgeopt.models.load import load_model
from tests.prune.tiny_models import texts, tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    import numpy as np

    tiny("bert")[0].save_pretrained(tmp_path / "whole")
    samples = texts(24)
    arrays = {name: np.stack([samples[index][name] for index in range(24)]) for name in samples[0]}
    np.savez(tmp_path / "train.npz", **arrays, labels=samples.labels)
    return tmp_path / "whole"


def test_a_pruned_transformer_is_exported_with_no_further_arguments(model: Path, tmp_path: Path) -> None:
    data, slim = str(tmp_path / "train.npz"), tmp_path / "slim"
    command = ["prune", str(model), "--train", data, "--target", "host", "--macs", "0.5x", "--time", "5s", "-o", str(slim)]
    settings = ["--set", "search_rounds=3", "--set", "train.epochs=1"]
    done = CliRunner().invoke(app, [*command, *settings, "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "model.json" in {file.name for file in slim.iterdir()}
    whole, left = (sum(value.numel() for value in load_model(path).module.parameters()) for path in (model, slim))
    assert left < whole
    done = CliRunner().invoke(app, ["export", str(slim), "-o", str(tmp_path / "onnx"), "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    graph = onnx.load(tmp_path / "onnx" / "model.onnx").graph
    assert sum(onnx.numpy_helper.to_array(value).size for value in graph.initializer) < whole
    again = tmp_path / "slimmer"
    command = ["prune", str(slim), "--train", data, "--parameters", "0.8", "-o", str(again), "--set", "recovery=fit", "-q"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    kept = json.loads((again / "model.json").read_text())["kept"]
    assert all(max(indices) < 100 for sides in kept.values() for indices in sides.values())


def test_a_uniform_result_is_a_transformers_folder(model: Path, tmp_path: Path) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.npz"), "-o", str(tmp_path / "slim"), "-q"]
    done = CliRunner().invoke(app, [*command, "--set", "drop_layers=1", "--set", "recovery=none"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "slim")
    assert again.config.num_hidden_layers == 1


def test_shares_and_times_are_read_as_people_write_them() -> None:
    assert [share_of("--macs", text) for text in (None, "0.5x", "0.5", "50%")] == [None, 0.5, 0.5, 0.5]
    assert [seconds_of("--time", text) for text in (None, "20m", "90s", "1h", "90", "2min")] == [None, 1200, 90, 3600, 90, 120]
    with pytest.raises(RecipeError, match=r"--macs half: write a share such as 0.5x"):
        share_of("--macs", "half")
    for text in ("soon", "-3m"):
        with pytest.raises(RecipeError, match=f"--time {text}"):
            seconds_of("--time", text)
