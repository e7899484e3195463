"""The stage `profile`: the models of a run under their names, budgets judged, the others only beside."""

from __future__ import annotations

import json

import numpy as np

from edgeopt.stages.profile import run_profile
from edgeopt.stages.results import read_facts
from tests.stages.conftest import MakeJob

RIGHT = np.eye(4)
WRONG = np.eye(4)[[1, 1, 2, 3]]


def test_each_model_has_its_name_and_budgets_are_about_the_quantized_one(make_job: MakeJob) -> None:
    options = {"seconds": 0.4, "cold_starts": 1, "operator_runs": 0, "roofline": False}
    options |= {"budget": ["accuracy_drop<=1", "size_mb<=1"]}
    job = make_job({"export": RIGHT, "quantize": WRONG, "export-teacher": RIGHT}, {}, profile=options)
    found = run_profile(job)
    assert [variant.name for variant in found.variants] == ["fp32", "int8", "teacher"]
    assert found.baseline == "fp32"
    assert [(item.variant, item.verdict) for item in found.budgets] == [("int8", "fail"), ("int8", "pass")]
    written = json.loads((job.workspace.output / "profile.json").read_text(encoding="utf-8"))
    assert read_facts("profile", written) == found
