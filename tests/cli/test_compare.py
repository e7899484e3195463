"""`edgeopt compare`: two profiles, for people and for continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import edgeopt_here
from tests.stages.conftest import write_linear


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_profiles_are_compared_and_told_to_ci(small: Path) -> None:
    arguments = ("profile", "model.onnx", "--seconds", "1", "--target", "x86-avx2", "-q", "--format")
    base = edgeopt_here(*arguments, "json").stdout
    worse = json.loads(base)
    for variant in worse["variants"]:
        variant["size_bytes"] *= 2
    (small / "base.json").write_text(base, encoding="utf-8")
    (small / "worse.json").write_text(json.dumps(worse), encoding="utf-8")
    assert edgeopt_here("compare", "base.json", "base.json").returncode == 0
    found = edgeopt_here("compare", "base.json", "worse.json", "--format", "github")
    assert found.returncode == 1
    errors = [line for line in found.stdout.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1
    assert "size_bytes" in errors[0]
    xml = edgeopt_here("compare", "base.json", "worse.json", "--format", "junit").stdout
    assert xml.count("<failure") == 1
    worse = {**json.loads(base), "device": {**json.loads(base)["device"], "cpu": "another"}}
    (small / "elsewhere.json").write_text(json.dumps(worse), encoding="utf-8")
    undecided = ("compare", "base.json", "elsewhere.json")
    assert edgeopt_here(*undecided).returncode == 0
    failed = edgeopt_here(*undecided, "--undecided", "fail")
    assert failed.returncode == 1 and "some figures are undecided, which counts as a failure" in failed.stderr
    assert edgeopt_here(*undecided, "--undecided", "maybe").returncode == 2


def test_evaluations_and_models_are_compared_in_pairs(tmp_path: Path) -> None:
    write_linear(tmp_path / "good.onnx", np.eye(4))
    write_linear(tmp_path / "bad.onnx", np.eye(4)[[1, 0, 2, 3]])
    np.savez(tmp_path / "rows.npz", x=np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 5], labels=np.array([0, 1, 2, 3] * 5))
    for name in ("good", "bad"):
        done = edgeopt_here("evaluate", f"{name}.onnx", "--data", "rows.npz", "--format", "json")
        (tmp_path / f"{name}.json").write_text(done.stdout, encoding="utf-8")
    files = edgeopt_here("compare", "good.json", "bad.json", "--format", "json")
    models = edgeopt_here("compare", "good.onnx", "bad.onnx", "--data", "rows.npz", "--format", "json")
    assert files.returncode == models.returncode == 1
    assert json.loads(files.stdout)["changes"] == json.loads(models.stdout)["changes"]
    assert json.loads(files.stdout)["changes"][0]["finding"] == "regression"
    assert edgeopt_here("compare", "bad.json", "good.json").returncode == 0
    (tmp_path / "profile.json").write_text('{"variants": [], "target": "host"}', encoding="utf-8")
    mixed = edgeopt_here("compare", "good.json", "profile.json")
    assert mixed.returncode == 2 and "compare two of a kind" in mixed.stderr
    alone = edgeopt_here("compare", "good.json", "bad.json", "--task", "ctc")
    assert alone.returncode == 2 and "--data" in alone.stderr
