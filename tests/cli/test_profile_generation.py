"""`edgeopt profile` of language models: wrong use; `tests/profile/test_generation.py` has the rest."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import edgeopt_here


def test_a_folder_without_a_language_model_is_refused(tmp_path: Path) -> None:
    done = edgeopt_here("profile", str(tmp_path), "--quiet")
    assert done.returncode == 2
    assert "holds no ONNX file" in done.stderr


def test_unknown_options_name_the_nearest(tmp_path: Path) -> None:
    done = edgeopt_here("profile", str(tmp_path), "--set", "context=[3]")
    assert done.returncode == 2
    assert "did you mean 'contexts'" in done.stderr
