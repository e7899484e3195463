"""`edgeopt compare`: two profiles, for people and for continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import edgeopt_here


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
