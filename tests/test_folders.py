"""Folders that users extend: those inside an installed package, else beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt import _folders
from edgeopt._folders import shipped


def test_what_is_installed_counts_before_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "edgeopt"
    monkeypatch.setattr(_folders, "_PACKAGE", package)
    (tmp_path / "deploy").mkdir()
    assert shipped("deploy") == tmp_path / "deploy"
    (package / "_shipped" / "exporters").mkdir(parents=True)
    assert shipped("deploy") == tmp_path / "deploy", "each folder is looked for by itself"
    (package / "_shipped" / "deploy").mkdir()
    assert shipped("deploy") == package / "_shipped" / "deploy"


@pytest.mark.parametrize("name", ["exporters", "calibration_data", "deploy"])
def test_all_three_are_there(name: str) -> None:
    assert any(shipped(name).iterdir())
