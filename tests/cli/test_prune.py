"""`edgeopt prune`: a transformer from the shell, what is printed of a result, and options that contradict each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import transformers
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import RecipeError
from edgeopt.models.load import load_model
from edgeopt.models.model_size import ModelSize
from edgeopt.models.size import macs
from edgeopt.prune.result import Allocation, PruneResult
from tests.cli.conftest import edgeopt_here
from tests.prune.tiny_models import texts, tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
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


BEFORE, AFTER = ModelSize(1000, 4000, 20_000), ModelSize(600, 2400, 9_000)


def test_two_of_four_weights_are_zero_after_the_recovery_and_the_compressed_file_is_smaller(
    model: Path, tmp_path: Path
) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.npz"), "--set", "sparsity=2:4", "--set", "train.epochs=1"]
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "sparse"), "-q"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "no time is gained" in done.output and "compressed: " in done.output
    layer = load_model(tmp_path / "sparse").module.get_submodule("bert.encoder.layer.1.output.dense")
    assert (layer.weight.reshape(-1, 4) == 0).sum(1).tolist() == [2] * (layer.weight.numel() // 4)
    lora = [*command, "--set", "recovery=lora", "-o", str(tmp_path / "no"), "-q"]
    with pytest.raises(RecipeError, match="low-rank updates would fill the zeros"):
        CliRunner().invoke(app, lora, catch_exceptions=False)


def test_a_narrower_transformer_loads_and_is_exported(model: Path, tmp_path: Path) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.npz"), "-o", str(tmp_path / "narrow"), "-q"]
    settings = ["--set", "hidden=0.5", "--macs", "0.4x", "--set", "search_rounds=2", "--set", "train.epochs=1"]
    done = CliRunner().invoke(app, [*command, *settings], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    whole, narrow = (load_model(path).module for path in (model, tmp_path / "narrow"))
    half = whole.config.hidden_size // 2
    assert narrow.get_input_embeddings().embedding_dim == half
    done = CliRunner().invoke(app, ["export", str(tmp_path / "narrow"), "-o", str(tmp_path / "onnx"), "-q"])
    assert done.exit_code == 0, done.output
    shapes = [list(value.dims) for value in onnx.load(tmp_path / "onnx" / "model.onnx").graph.initializer]
    assert [100, half] in shapes


def test_two_rounds_leave_the_share_of_one(model: Path, tmp_path: Path) -> None:
    command = ["prune", str(model), "--train", str(tmp_path / "train.npz"), "-o", str(tmp_path / "slim"), "-q"]
    settings = ["rounds=2", "search_rounds=2", "train.epochs=1", "calibration_samples=8"]
    changes = [part for setting in settings for part in ("--set", setting)]
    done = CliRunner().invoke(app, [*command, *changes, "--macs", "0.5x"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    sample = texts(1).collate([0])
    whole, left = (macs(load_model(path).module, sample) for path in (model, tmp_path / "slim"))
    assert 0.4 * whole < left <= 0.5 * whole
    done = edgeopt_here(*command, "--latency", "5ms", "--set", "rounds=2")
    assert done.returncode == 2 and "several rounds need a budget that is a share" in done.stderr


def made(**changes: Any) -> PruneResult:
    values: dict[str, Any] = {"before": BEFORE, "after": AFTER, "layers": (), "history": (), "spared": {}, "path": Path("slim")}
    return PruneResult(**{**values, **changes})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks of a run of pruning; `result` is its answer."""
    seen: dict[str, Any] = {"result": made()}

    def pruned(self: Any, output: Path, options: Any, *, seconds: float | None = None) -> PruneResult:
        seen.update(run=self, output=output, options=options, seconds=seconds)
        answer: PruneResult = seen["result"]
        return answer

    def exported(self: Any, result: PruneResult, options: Any) -> Iterator[str]:
        yield "exported: as planned"

    monkeypatch.setattr("edgeopt.cli.prune_run.Pruning.__call__", pruned)
    monkeypatch.setattr("edgeopt.cli.prune_run.Pruning.exported_lines", exported)
    monkeypatch.setattr("edgeopt.cli.prune_run.accuracy_lines", lambda run, output: iter([f"accuracy of {output}: 0.5000"]))
    return seen


COMMAND = ("prune", "model", "--train", "data.npz", "-o", "slim", "-q")


def test_options_reach_the_run(asked: dict[str, Any]) -> None:
    options = (
        "--macs",
        "40%",
        "--time",
        "2m",
        "--teacher",
        "big",
        "--evaluate",
        "e.npz",
        "--builder",
        "nets:Net",
        "--seed",
        "3",
    )
    done = edgeopt_here(*COMMAND, *options, "--target", "x86-avx2", "--set", "importance=taylor")
    assert done.returncode == 0, done.stderr
    run = asked["run"]
    assert (run.source, run.train, run.target, run.evaluate) == ("model", "data.npz", "x86-avx2", "e.npz")
    assert (run.teacher, run.builder, run.seed) == ("big", "nets:Net", 3)
    assert (asked["output"], asked["options"].macs, asked["options"].importance) == (Path("slim"), 0.4, "taylor")
    assert asked["seconds"] == 120


def test_what_went_is_printed_in_figures(asked: dict[str, Any]) -> None:
    done = edgeopt_here(*COMMAND)
    assert done.stdout.splitlines() == [
        "slim: 9,000 multiply-accumulates of 20,000, 600 parameters of 1,000; model.json with the kept indices",
        "exported: as planned",
        "accuracy of slim: 0.5000",
    ]
    latency = Allocation("ms", whole=4.0, budget=2.0, planned=1.875)
    asked["result"] = made(spared={"head": "it is tied"}, dropped={"encoder": (1, 3)}, allocation=latency, uniform=True)
    done = edgeopt_here(*COMMAND, "--latency", "2ms")
    assert done.stderr == "warning: layer 'head' stays whole: it is tied\n"
    assert done.stdout.splitlines()[:3] == [
        "slim: 9,000 multiply-accumulates of 20,000, 600 parameters of 1,000; a transformers folder",
        "removed layers of encoder: 1, 3",
        "latency: 1.88 ms predicted, 2 ms allowed, 4 ms before",
    ]
    asked["result"] = made(allocation=Allocation("macs", 4.0, 2.0, 1.9))
    assert "latency" not in edgeopt_here(*COMMAND).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "slim"], "prune needs training samples: --train DATA"),
        (["--train", "d"], "prune needs a folder for the pruned model: -o FOLDER"),
        (["--train", "d", "-o", "slim", "--levels", "10", "--report", "r"], "--levels prunes to several budgets"),
        (["--train", "d", "--macs", "0.5", "--levels", "10", "--report", "r"], "--levels prunes to several budgets"),
        (["--train", "d", "--levels", "10"], "--levels prunes to several budgets: give --report FOLDER"),
        (["--train", "d", "-o", "slim", "--macs", "2"], "macs"),
        (["--train", "d", "-o", "slim", "--time", "soon"], "--time soon"),
        (["--train", "d", "-o", "slim", "--set", "importnace=obs"], "did you mean 'importance'"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(asked: dict[str, Any], arguments: list[str], said: str) -> None:
    done = edgeopt_here("prune", "model", "-q", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert "run" not in asked
