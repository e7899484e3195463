"""`edgeopt compare`: two profiles, for people and for continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import edgeopt


def test_profiles_are_compared_and_told_to_ci(small: Path) -> None:
    arguments = ("profile", "model.onnx", "--seconds", "1", "--target", "x86-avx2", "-q", "--format")
    base = edgeopt(*arguments, "json", cwd=small).stdout
    worse = json.loads(base)
    for variant in worse["variants"]:
        variant["size_bytes"] *= 2
    (small / "base.json").write_text(base, encoding="utf-8")
    (small / "worse.json").write_text(json.dumps(worse), encoding="utf-8")
    assert edgeopt("compare", "base.json", "base.json", cwd=small).returncode == 0
    found = edgeopt("compare", "base.json", "worse.json", "--format", "github", cwd=small)
    assert found.returncode == 1
    errors = [line for line in found.stdout.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1
    assert "size_bytes" in errors[0]
    xml = edgeopt("compare", "base.json", "worse.json", "--format", "junit", cwd=small).stdout
    assert xml.count("<failure") == 1
    worse = {**json.loads(base), "device": {**json.loads(base)["device"], "cpu": "another"}}
    (small / "elsewhere.json").write_text(json.dumps(worse), encoding="utf-8")
    undecided = ("compare", "base.json", "elsewhere.json")
    assert edgeopt(*undecided, cwd=small).returncode == 0
    failed = edgeopt(*undecided, "--undecided", "fail", cwd=small)
    assert failed.returncode == 1 and "some figures are undecided, which counts as a failure" in failed.stderr
    assert edgeopt(*undecided, "--undecided", "maybe", cwd=small).returncode == 2
