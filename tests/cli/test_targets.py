"""`edgeopt targets`: what can be measured from here, and why not the others."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import edgeopt_here


def test_targets_that_are_not_here_say_why() -> None:
    targets = {row["target"]: row for row in json.loads(edgeopt_here("targets", "--format", "json").stdout)}
    assert {"x86-vnni", "x86-avx2", "arm64"} <= set(targets)
    assert {row["here"] for row in targets.values()} <= {"yes", "no"}
    assert all("not here: " in row["description"] for row in targets.values() if row["here"] == "no")


def test_installing_prints_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("edgeopt.targets.environments.install", lambda target: asked.append(target.name) or "made: /there")
    done = edgeopt_here("targets", "install", "browser-wasm", "--quiet")
    assert (done.returncode, done.stdout, asked) == (0, "made: /there\n", ["browser-wasm"])
