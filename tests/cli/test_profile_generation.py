"""`edgeopt profile` of language models: wrong use; `tests/profile/test_generation.py` has the rest."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import edgeopt_here


def test_a_folder_without_a_language_model_is_refused(tmp_path: Path) -> None:
    done = edgeopt_here("profile", str(tmp_path), "--quiet")
    assert done.returncode == 2
    assert "holds no ONNX file" in done.stderr


def test_a_missing_model_and_an_empty_prompt_are_named(tmp_path: Path) -> None:
    done = edgeopt_here("profile", str(tmp_path), str(tmp_path / "nowhere"), "--quiet")
    assert (done.returncode, "nowhere: no such model file or folder" in done.stderr) == (2, True), done.stderr
    done = edgeopt_here("profile", str(tmp_path), "--set", "contexts=[16, 0]")
    assert (done.returncode, "greater than or equal to 1" in done.stderr) == (2, True), done.stderr


def test_unknown_options_name_the_nearest(tmp_path: Path) -> None:
    done = edgeopt_here("profile", str(tmp_path), "--set", "context=[3]")
    assert done.returncode == 2
    assert "did you mean 'contexts'" in done.stderr
