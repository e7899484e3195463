"""The stage `bundle`: what is shipped, with the recipe and golden samples of the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgeopt.bundle import verify_bundle
from edgeopt.bundle.raw_golden import wav
from edgeopt.stages.bundle import decoding_of, run_bundle
from edgeopt.tasks.decoding import Argmax, MultiLabel
from tests.stages.conftest import MakeJob


def test_the_bundle_carries_model_recipe_and_golden_samples(make_job: MakeJob) -> None:
    job = make_job({"quantize": np.eye(4)}, {}, bundle={"golden_samples": 3})
    found = run_bundle(job)
    folder = job.workspace.output / "bundle"
    assert found.verified
    assert {"model.onnx", "golden.npz", "recipe.toml", "bundle.json"} <= {file.path for file in found.files}
    with np.load(folder / "golden.npz") as golden:
        assert len(golden.files) == 3 * 2  # an input and an output for each sample
    assert json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["name"] == "r"
    assert verify_bundle(folder).passed


def test_recordings_themselves_and_the_licences_of_their_folders_travel(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    sounds = [wav(np.sin(np.arange(8) * pitch), 8000) for pitch in (1, 2, 3, 4)]
    for index, sound in enumerate(sounds):
        (tmp_path / "sounds" / f"{index}.wav").write_bytes(sound)
    (tmp_path / "sounds" / "README.md").write_text("---\nlicense: cc0-1.0\n---\n", encoding="utf-8")
    (tmp_path / "quantize").mkdir()
    (tmp_path / "quantize" / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n", encoding="utf-8")
    steps = {"kind": "audio", "rate": 8000, "length": 4, "normalise": True}
    data = {"evaluation": f"{tmp_path}/sounds", "preprocessing": steps}
    job = make_job({"quantize": np.eye(4)}, {}, bundle={"golden_samples": 2}, data=data)
    run_bundle(job)
    folder = job.workspace.output / "bundle"
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert [entry["input"] for entry in manifest["golden"]["raw"]] == [{"file": "golden/000.wav"}, {"file": "golden/001.wav"}]
    assert (folder / "golden" / "001.wav").read_bytes() == sounds[1]
    assert manifest["licences"] == {"model": "Apache-2.0", "data": "CC0-1.0"}
    assert (folder / "LICENSE").is_file()
    assert "Licence of the model: Apache-2.0; of the data: CC0-1.0." in (folder / "README.md").read_text(encoding="utf-8")


def test_answers_are_decoded_as_the_task_of_the_run_says(make_job: MakeJob) -> None:
    job = make_job({"quantize": np.eye(4)}, {}, task="multi-label-classification")
    found = decoding_of(job, job.data.split("evaluation"), job.inputs["quantize"] / "model.onnx")
    assert isinstance(found, MultiLabel) and found.output == "y"
    scores = make_job({"quantize": np.eye(4)}, {})  # one row of the identity sums to 1: scores already
    argmax = decoding_of(scores, scores.data.split("evaluation"), scores.inputs["quantize"] / "model.onnx")
    assert isinstance(argmax, Argmax) and argmax.activation == "none"


def test_a_task_that_does_not_know_the_outputs_leaves_the_decoding_open(make_job: MakeJob) -> None:
    job = make_job({"quantize": np.eye(4)}, {}, task="object-detection")
    assert decoding_of(job, job.data.split("evaluation"), job.inputs["quantize"] / "model.onnx") is None
