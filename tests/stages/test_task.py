"""The task of a recipe: what it says goes before what its parts say."""

from __future__ import annotations

import numpy as np

from edgeopt.stages.task import task_of
from tests.stages.conftest import MakeJob


def test_labels_decide_where_nothing_is_said(make_job: MakeJob) -> None:
    job = make_job({"import": np.eye(4)}, {})
    assert task_of(job, job.data.split("calibration")).name == "single-label-classification"


def test_the_recipes_own_task_goes_first(make_job: MakeJob) -> None:
    job = make_job({"import": np.eye(4)}, {}, task="edgeopt.tasks.outputs_only:OutputsOnly")
    assert task_of(job, job.data.split("calibration")).name == "generic"
