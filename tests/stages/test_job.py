"""What a stage's function works with."""

from types import SimpleNamespace

import pytest

from edgeopt.errors import InternalError
from edgeopt.stages.export import run_export
from edgeopt.stages.job import Job, Stage


def test_the_result_of_an_earlier_stage_has_the_type_that_is_asked_for():
    job = Job(None, None, None, {}, {"export": "text"}, None)  # type: ignore[arg-type]
    assert job.facts_of("export", str) == "text"
    with pytest.raises(InternalError, match="stage 'export' gave str, not int"):
        job.facts_of("export", int)


@pytest.mark.parametrize(
    ("splits", "builders", "modules"),
    [
        ((), (), ("edgeopt.stages.export",)),
        (("train",), ("nets",), ("edgeopt.stages.export", "edgeopt.stages.samples", "nets")),
    ],
)
def test_the_key_holds_the_code_that_runs(splits, builders, modules):
    assert Stage("export", run_export, SimpleNamespace(), splits=splits, builders=builders).modules == modules  # type: ignore[arg-type]
