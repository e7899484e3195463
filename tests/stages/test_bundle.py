"""The stage `bundle`: what is shipped, with the recipe and golden samples of the run."""

from __future__ import annotations

import json

import numpy as np

from edgeopt.bundle import verify_bundle
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
