"""The stage `bundle`: what is shipped, with the recipe and golden samples of the run."""

from __future__ import annotations

import json

import numpy as np

from edgeopt.bundle import verify_bundle
from edgeopt.stages.bundle import run_bundle
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
