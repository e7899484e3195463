from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edgeopt.errors import DiskFullError, EdgeoptError, IntegrityError, MachineError
from edgeopt.evaluate.result import VariantAccuracy, VerifyFacts
from edgeopt.pipeline import RunResult, StageOutcome
from edgeopt.roles import Role
from edgeopt.search import trial
from edgeopt.search.trial import Spec, TrialResult, figures_of, main, read_result, run_trial, write_spec
from edgeopt.stages.results import write_facts
from edgeopt.store import Artifact


def test_a_recipe_that_cannot_run_is_a_result_with_its_reason(tmp_path: Path) -> None:
    recipe = {"name": "x", "model": str(tmp_path / "none.onnx"), "data": {"set": "digits"}}
    result = run_trial(Spec(recipe, str(tmp_path / "run"), str(tmp_path / "store")))
    assert "none.onnx" in result.error and not result.fatal and result.metric is None


def test_the_process_writes_its_result_beside_its_specification(tmp_path: Path) -> None:
    path = tmp_path / "c000" / "spec.json"
    write_spec(path, Spec({"name": "x", "nonsense": 1}, str(tmp_path / "run"), str(tmp_path / "store")))
    assert main(str(path)) == 0
    found = read_result(path.with_name("result.json"))
    assert found is not None and "unknown key 'nonsense'" in found.error


def test_a_damaged_result_is_none(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"figures": {"p50_ms": "fast"}}), encoding="utf-8")
    assert read_result(tmp_path / "result.json") is None
    assert read_result(tmp_path / "absent.json") is None
    assert TrialResult({}).error == ""


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        (MachineError("/workspace/disk1/model.onnx: the provider is missing"), False),
        (DiskFullError("/data: no room"), True),
        (IntegrityError("/data: damaged"), True),
    ],
)
def test_an_error_ends_the_search_by_what_it_is_and_not_by_its_words(
    error: EdgeoptError, fatal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(trial, "Pipeline", refuse)
    recipe = {"name": "x", "model": "m.onnx", "data": {"set": "digits"}}
    assert run_trial(Spec(recipe, str(tmp_path), str(tmp_path))) == TrialResult({}, error=str(error), fatal=fatal)


def test_an_error_rate_ranks_the_lower_the_better() -> None:
    def row(role: Role, value: float) -> VariantAccuracy:
        return VariantAccuracy(role.value, role, "", value, None, None, None, 10, None, None)

    facts = VerifyFacts(
        "WER", 9, 0.95, (row(Role.TEACHER, 0.1), row(Role.QUANTIZED, 0.3)), (), "pass", "", larger_is_better=False
    )
    artifact = Artifact("verify", "", Path(), "", {}, write_facts("verify", facts), 0.0, {})
    found = figures_of(cast("RunResult", SimpleNamespace(outcomes=[StageOutcome(artifact, made=True)])))
    assert (found.metric, found.rank, found.metric_name) == (0.3, -0.3, "WER")
    assert found.figures["accuracy_drop"] == pytest.approx(20)
