"""Making what targets need, without a network: pip and scripts are stubs."""

from __future__ import annotations

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edgeopt.errors import MachineError, RecipeError
from edgeopt.targets import environments
from edgeopt.targets.availability import available
from edgeopt.targets.target import Target, load_target


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = load_target("x86-avx2")
    device = base.device.model_copy(update={"machine": [], "cpu_flags": [], "environment": ["abacus==1"]})
    return base.model_copy(update={"device": device})


def _pretend_pip(monkeypatch: pytest.MonkeyPatch, *, says: str = "", fails: bool = False) -> None:
    def create(folder: Path, *, with_pip: bool) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "python").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {int(fails)}\n")
        (folder / "bin" / "python").chmod(0o755)

    monkeypatch.setattr(environments.venv, "create", create)


def test_an_environment_is_made_once_and_found(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match="edgeopt targets install x86-avx2"):
        environments.python_of(target)
    assert available(target).reasons and "edgeopt targets install x86-avx2" in available(target).reasons[0]
    _pretend_pip(monkeypatch)
    assert environments.install(target).endswith(" has abacus==1")
    assert environments.python_of(target).is_file() and available(target).ok
    monkeypatch.setattr(environments, "_fill", lambda *_: pytest.fail("made twice"))
    environments.install(target)


def test_other_packages_are_another_environment(target: Target) -> None:
    other = target.model_copy(update={"device": target.device.model_copy(update={"environment": ["abacus==2"]})})
    assert environments.folder_of(target) != environments.folder_of(other)


def test_a_package_that_cannot_be_installed_leaves_nothing(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend_pip(monkeypatch, says="no abacus anywhere", fails=True)
    with pytest.raises(MachineError, match=r"python cannot install into .*: no abacus anywhere"):
        environments.install(target)
    assert not environments.folder_of(target).exists()


def test_a_target_that_needs_nothing() -> None:
    with pytest.raises(RecipeError, match="needs no installation"):
        environments.install(load_target("x86-avx2"))


@pytest.mark.parametrize(("code", "error"), [("echo made it", None), ("echo no disk >&2; exit 1", "no disk")])
def test_scripts(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, error: Any) -> None:
    (tmp_path / "make.sh").write_text(code)
    monkeypatch.setattr(environments, "shipped", lambda _: tmp_path)
    scripted = target.model_copy(update={"setup": "make.sh"})
    if error is None:
        assert environments.install(scripted) == "made it"
    else:
        with pytest.raises(MachineError, match=error):
            environments.install(scripted)


def test_a_missing_emulator_is_a_reason(target: Target) -> None:
    device = target.device.model_copy(update={"environment": [], "launcher": ["no-such-emulator"], "python": "python3"})
    found = available(target.model_copy(update={"device": device, "setup": "x.sh"}))
    assert found.reasons == ["no-such-emulator is not installed; make it: edgeopt targets install x86-avx2"]


def test_two_installs_at_once_make_it_once(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = [], []

    def fill(folder: Path, _: Target) -> None:
        folder.mkdir(parents=True)  # what the first one did; it was removed under its feet
        made.append(folder)
        time.sleep(0.5)
        (folder / "edgeopt-installed").write_text("abacus==1\n")

    monkeypatch.setattr(environments, "_fill", fill)
    monkeypatch.setattr("edgeopt.progress.note", notes.append)
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(environments.install, [target, target]))
    assert made == [environments.folder_of(target)]
    assert said[0] == said[1] and said[0].endswith(" has abacus==1")
    waits = f"targets install x86-avx2: another process ({os.getpid()}) is working here; waiting for it"
    assert notes == [waits]


def test_a_python_that_makes_no_environments_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's without python3-venv."""

    def create(folder: Path, *, with_pip: bool) -> None:
        raise subprocess.CalledProcessError(1, ["python", "-m", "ensurepip"])

    monkeypatch.setattr(environments.venv, "create", create)
    with pytest.raises(MachineError, match="apt install python3-venv"):
        environments.install(target)
    assert not environments.folder_of(target).exists()
