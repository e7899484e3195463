"""`edgeopt bundle`: what a bundle of the shell says of its model, data and labels, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

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
