"""Export an encoder-decoder as its two halves, ``encoder/model.onnx`` and ``decoder/model.onnx`` of one folder."""

from __future__ import annotations

from pathlib import Path

import torch

from edgeopt.errors import ModelError
from edgeopt.export.config import ExportConfig
from edgeopt.export.registry import family_of, load_family
from edgeopt.export.result import ExportResult
from edgeopt.export.stage import export
from edgeopt.targets.target import Target

HALVES = ("encoder", "decoder")


def has_halves(model: torch.nn.Module, config: ExportConfig) -> bool:
    """Return whether the task in `config` is that of a whole encoder-decoder, such as text2text-generation."""
    kind = getattr(getattr(model, "config", None), "model_type", "")
    try:
        family = load_family(config.family) if config.family else family_of(kind)
    except ModelError:
        return False
    return config.task not in family.tasks and all(f"{config.task}/{half}" in family.tasks for half in HALVES)


def export_halves(model: torch.nn.Module, *, target: Target, output: Path, config: ExportConfig) -> list[ExportResult]:
    """Export encoder and decoder of `model` into folders of these names in `output`, each compared with PyTorch.

    Raises:
        ModelError: as for `export`.
    """
    return [
        export(
            model,
            None,
            target=target,
            output=Path(output) / half,
            config=config.model_copy(update={"task": f"{config.task}/{half}"}),
        )
        for half in HALVES
    ]
