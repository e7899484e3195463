"""Only what a user names is looked for in the current folder; nothing there stands for a package that is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeopt.user_code import forget_current_folder, named


def test_the_current_folder_is_on_the_path_while_the_users_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_here.py").write_text("value = 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    with named("named_here:value") as found:
        assert found == 3 and sys.path[-1] == str(tmp_path)
    assert str(tmp_path) not in sys.path
    with named("named_here:value", stay=True):
        pass
    assert sys.path[-1] == str(tmp_path)
    monkeypatch.delitem(sys.modules, "named_here")


def test_the_current_folder_shadows_nothing_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('shadowed')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with named("colorsys:rgb_to_hsv", stay=True) as found:
        assert found(0.0, 0.0, 0.0) == (0.0, 0.0, 0.0)
    assert str(tmp_path) not in sys.path


def test_the_folder_that_python_puts_first_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), "elsewhere"])
    forget_current_folder()
    forget_current_folder()
    assert sys.path == ["elsewhere"]


def test_a_strangers_folder_brings_no_stand_in_for_a_missing_package(tmp_path: Path) -> None:
    """A folder with weights, a timm config, and a timm.py: what is not installed is not taken from there."""
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}), encoding="utf-8")
    (tmp_path / "timm.py").write_text("import pathlib; pathlib.Path('owned').mkdir()\n", encoding="utf-8")
    entries = tmp_path / "evil-1.0.dist-info"
    entries.mkdir()
    (entries / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n", encoding="utf-8")
    groups = "[edgeopt.exporters]\nevil = timm\n[torch.backends]\nevil = timm:load\n"
    (entries / "entry_points.txt").write_text(groups, encoding="utf-8")
    command = [sys.executable, "-m", "edgeopt", "export", ".", "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "owned").exists()
