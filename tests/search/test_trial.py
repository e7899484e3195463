from __future__ import annotations

import json
from pathlib import Path

from edgeopt.search.trial import Spec, TrialResult, main, read_result, run_trial, write_spec


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
