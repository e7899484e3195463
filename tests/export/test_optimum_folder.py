"""The layout of optimum's classes: three files under its names, moved in when all three are made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.export import ExportConfig, optimum_folder
from edgeopt.export.optimum_folder import export_for_optimum
from edgeopt.export.result import ExportResult, Parity
from edgeopt.targets.target import load_target

RESULT = ExportResult(
    24, "float32", "fused", "apart", "t5", "", 1, {}, (), (), Parity(0.0, 0.0, 1e-4, 1, (), passed=True), 1, {}, (),
    Path(), (),
)  # fmt: skip
NAMES = ["encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"]


def module(kind: str) -> torch.nn.Module:
    made = torch.nn.Module()
    made.config = SimpleNamespace(model_type=kind)  # type: ignore[assignment]
    return made


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, Path]]:
    """The tasks that were exported, and where to; each writes its task's name as the model, and a configuration."""
    seen: list[tuple[str | None, Path]] = []

    def export(model: Any, samples: Any, *, target: Any, output: Path, config: ExportConfig) -> ExportResult:
        assert samples is None
        seen.append((config.task, output))
        output.mkdir(parents=True)
        files = (output / "model.onnx", output / "config.json")
        for file in files:
            file.write_text(str(config.task), encoding="utf-8")
        return replace(RESULT, task=str(config.task), path=files[0], files=files)

    monkeypatch.setattr(optimum_folder, "export", export)
    return seen


def test_each_graph_has_optimums_name(exports: list[tuple[str | None, Path]], tmp_path: Path) -> None:
    found = export_for_optimum(module("t5"), target=load_target("x86-vnni"), output=tmp_path / "out")
    endings = ["optimum-encoder", "optimum-decoder", "optimum-decoder-with-past"]
    assert [task for task, _ in exports] == [f"text2text-generation/{ending}" for ending in endings]
    assert [result.path for result in found] == [tmp_path / "out" / name for name in NAMES]
    assert found[1].files == (tmp_path / "out" / NAMES[1], tmp_path / "out" / "config.json")
    assert [result.path.read_text(encoding="utf-8").split("/")[1] for result in found] == endings
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*NAMES, "config.json"])


def test_a_family_may_be_named(exports: list[tuple[str | None, Path]], tmp_path: Path) -> None:
    config = ExportConfig(family="whisper")
    export_for_optimum(module("unknown"), target=load_target("x86-vnni"), output=tmp_path / "out", config=config)
    assert exports[0][0] == "automatic-speech-recognition/optimum-encoder"


@pytest.mark.parametrize(
    ("kind", "said"), [("bert", "family 'bert' is not an encoder-decoder: .* leave --layout out"), ("", "no family exports")]
)
def test_other_models_are_refused_before_a_folder_is_made(kind: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        export_for_optimum(module(kind), target=load_target("x86-vnni"), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_beside_the_graph_are_refused_and_nothing_is_left(
    exports: list[tuple[str | None, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = optimum_folder.export

    def large(*arguments: Any, **options: Any) -> ExportResult:
        result = small(*arguments, **options)
        if len(exports) == 2:
            (options["output"] / "model.onnx.data").touch()
        return result

    monkeypatch.setattr(optimum_folder, "export", large)
    with pytest.raises(ModelError, match=r"decoder_model\.onnx: its weights do not fit into one file of 2 GiB"):
        export_for_optimum(module("t5"), target=load_target("x86-vnni"), output=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == [], "the first graph does not stand alone in the folder"
