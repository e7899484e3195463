"""`edgeopt bundle`: what a bundle of the shell says of its model, data and labels, and what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeopt.bundle.raw_golden import wav
from tests.cli.conftest import edgeopt_here


@pytest.fixture(autouse=True)
def _here(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(labelled)


def manifest(folder: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((Path(folder) / "bundle.json").read_text(encoding="utf-8"))
    return values


def test_names_licence_labels_and_number_of_samples_are_those_given() -> None:
    Path("names.txt").write_text("cat\ndog\nowl\nfox\n")
    options = ("--name", "animals", "--task", "image-classification", "--licence", "Apache-2.0", "--labels", "names.txt")
    done = edgeopt_here("bundle", "good.onnx", "--data", "labelled.npz", "-o", "b", *options, "--golden", "3", "-t", "x86-avx2")
    assert done.returncode == 0, done.stderr
    listed = len(Path("b/SHA256SUMS").read_text(encoding="utf-8").splitlines())
    assert done.stdout.startswith(f"b: {listed} files, ") and ", verified; SHA-256 " in done.stdout
    found = manifest("b")
    assert (found["name"], found["task"], found["labels"]) == ("animals", "image-classification", ["cat", "dog", "owl", "fox"])
    assert found["golden"]["samples"] == 3
    assert found["golden"]["tolerances"][0]["top1"] is True, "four labels and four outputs: the best class must stay"
    assert found["target"] == "x86-avx2"
    assert "Apache-2.0" in json.dumps(found)


def test_without_options_the_file_gives_its_name_and_the_task_is_generic() -> None:
    done = edgeopt_here("bundle", "good.onnx", "--data", "labelled.npz", "-o", "b", "-q")
    assert done.returncode == 0, done.stderr
    found = manifest("b")
    assert (found["name"], found["task"], found["labels"], found["golden"]["samples"]) == ("good", "generic", [], 8)
    assert edgeopt_here("verify", "b").returncode == 0


def test_the_models_config_names_task_and_classes() -> None:
    config = {"architectures": ["BertForSequenceClassification"], "id2label": {str(n): f"class {n}" for n in range(4)}}
    Path("config.json").write_text(json.dumps({"model_type": "bert", **config}))
    done = edgeopt_here("bundle", "good.onnx", "--data", "labelled.npz", "-o", "b", "-q")
    assert done.returncode == 0, done.stderr
    assert manifest("b")["labels"] == ["class 0", "class 1", "class 2", "class 3"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["good.onnx"], "--data is missing: name golden inputs"),
        (["none.onnx", "--data", "labelled.npz"], "none.onnx"),
        (["good.onnx", "--data", "none.npz"], "no such calibration data"),
        (["good.onnx", "--data", "labelled.npz", "--target", "x86-avx"], "did you mean 'x86-avx2'"),
        (["good.onnx", "--data", "labelled.npz", "--labels", "none.txt"], "none.txt"),
        (["good.onnx", "--data", "labelled.npz", "--sign", "none.pem"], "none.pem"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_written(arguments: list[str], said: str) -> None:
    done = edgeopt_here("bundle", *arguments, "-o", "b", "-q")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not Path("b").exists()


def test_folders_of_recordings_give_classes_and_the_example_takes_a_recording() -> None:
    sound = wav(np.sin(np.arange(4) / 2), 8000)
    for word in ("yes", "no", "stop", "go"):
        Path("sounds", word).mkdir(parents=True)
        Path("sounds", word, "1.wav").write_bytes(sound)
    done = edgeopt_here("bundle", "good.onnx", "--data", "sounds?length=4", "-o", "b", "-q")
    assert done.returncode == 0, done.stderr
    found = manifest("b")
    assert found["labels"] == ["go", "no", "stop", "yes"]
    assert {key: found["preprocessing"][key] for key in ("kind", "rate", "length")} == {
        "kind": "audio",
        "rate": 8000,
        "length": 4,
    }
    shown = subprocess.run([sys.executable, "b/example.py", "sounds/yes/1.wav"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert any(name in shown.stdout for name in found["labels"])


def test_names_that_are_too_few_are_refused_and_those_of_the_data_left_out() -> None:
    Path("names.txt").write_text("cat\ndog\nowl\n")
    done = edgeopt_here("bundle", "good.onnx", "--data", "labelled.npz", "-o", "b", "-q", "--labels", "names.txt")
    assert done.returncode == 2 and "3 class names for a model of 4 classes" in done.stderr, done.stderr
    for word in ("yes", "no", "stop"):
        Path("few", word).mkdir(parents=True)
        Path("few", word, "1.wav").write_bytes(wav(np.zeros(4), 8000))
    done = edgeopt_here("bundle", "good.onnx", "--data", "few?length=4", "-o", "b", "-q")
    assert done.returncode == 0 and "the data names 3 classes and the model has 4" in done.stderr, done.stderr
    assert manifest("b")["labels"] == []
