"""An encoder-decoder is exported in two halves where its whole task is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgeopt.export import ExportConfig, halves
from edgeopt.export.halves import export_halves, has_halves
from edgeopt.targets.target import load_target


def module(kind: str) -> torch.nn.Module:
    made = torch.nn.Module()
    made.config = SimpleNamespace(model_type=kind)  # type: ignore[assignment]
    return made


@pytest.mark.parametrize(
    ("kind", "task", "whole"),
    [
        ("t5", "text2text-generation", True),
        ("whisper", "automatic-speech-recognition", True),
        ("t5", "text2text-generation/decoder", False),
        ("t5", "text-classification", False),
        ("llama", "text-generation", False),
        ("unheard-of", "text2text-generation", False),
    ],
)
def test_the_task_of_both_halves_is_known(kind: str, task: str, whole: bool) -> None:
    assert has_halves(module(kind), ExportConfig(task=task)) is whole


def test_each_half_has_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def export(model: Any, samples: Any, *, target: Any, output: Path, config: ExportConfig) -> Any:
        return samples, config.task, output

    monkeypatch.setattr(halves, "export", export)
    found = export_halves(
        module("t5"), target=load_target("x86-vnni"), output=tmp_path, config=ExportConfig(task="text2text-generation")
    )
    assert found == [(None, f"text2text-generation/{half}", tmp_path / half) for half in ("encoder", "decoder")]
