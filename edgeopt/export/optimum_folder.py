"""Write an encoder-decoder model for optimum's ORTModel classes; folders of other models need no change."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from edgeopt.errors import ModelError
from edgeopt.export.config import ExportConfig
from edgeopt.export.registry import family_of, load_family
from edgeopt.export.result import ExportResult
from edgeopt.export.seq2seq_optimum import FILES
from edgeopt.export.stage import export
from edgeopt.targets.target import Target

_DEFAULTS = ExportConfig()


def export_for_optimum(
    model: torch.nn.Module, *, target: Target, output: Path, config: ExportConfig = _DEFAULTS
) -> list[ExportResult]:
    """Export `model` to encoder_model.onnx, decoder_model.onnx and decoder_with_past_model.onnx, each compared with PyTorch.

    Returns:
        The results of `export` for each of them, in that order, with the paths of the files in `output`.

    Raises:
        ModelError: the model is not an encoder-decoder, a graph's weights do not fit into one file, or as for `export`.
    """
    kind = getattr(getattr(model, "config", None), "model_type", "")
    family = load_family(config.family) if config.family else family_of(kind)
    tasks = {ending: [name for name in family.tasks if name.endswith(f"/{ending}")] for ending in FILES}
    if not all(tasks.values()):
        raise ModelError(
            f"family '{family.name}' is not an encoder-decoder: optimum loads its plain export; leave --layout out"
        )
    output.mkdir(parents=True, exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory(dir=output, prefix=".export-") as name:
        for ending, file in FILES.items():
            folder = Path(name) / ending
            chosen = config.model_copy(update={"task": tasks[ending][0]})
            found = export(model, None, target=target, output=folder, config=chosen)
            if (folder / "model.onnx.data").exists():
                raise ModelError(f"{file}: its weights do not fit into one file of 2 GiB, which this layout needs")
            results.append((found, folder, file))
        for _, folder, file in results:
            for beside in sorted(folder.iterdir()):
                beside.replace(output / (file if beside.name == "model.onnx" else beside.name))
    return [_moved(found, output, file) for found, _, file in results]


def _moved(found: ExportResult, output: Path, file: str) -> ExportResult:
    beside = [output / path.name for path in found.files if path.name != "model.onnx"]
    return replace(found, path=output / file, files=(output / file, *beside))
