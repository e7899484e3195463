"""Save a PyTorch model without pickles: how to build it, which channels are left, and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from edgeopt.files import disk_errors, write_aside, write_json
from edgeopt.models.load import MODEL_FILE, Origin

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "preprocessor_config.json",
)


@runtime_checkable
class PretrainedWriter(Protocol):
    """What transformers' models can do."""

    def save_pretrained(self, save_directory: Path) -> None:
        """Write config.json and model.safetensors."""


def save_model(module: nn.Module, folder: Path, *, origin: Origin | None) -> None:
    """Write `module` into `folder`: a transformers model as a transformers folder, any other by its `origin`."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(module, PretrainedWriter):
            module.save_pretrained(folder)
            return
    if origin is None:
        raise ValueError("a module that transformers does not know needs its origin")
    from safetensors.torch import save_file

    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in module.state_dict().items()}
    with write_aside(folder / "model.safetensors") as aside:
        save_file(weights, aside)
    record = {
        "format": 1,
        "builder": origin.builder,
        "arguments": dict(origin.arguments),
        "kept": origin.kept,
        "task": origin.task,
        "labels": list(origin.labels),
    }
    write_json(folder / MODEL_FILE, record)


def copy_tokenizer(source: Path | None, folder: Path) -> None:
    """Copy the tokenizer and processor files beside a transformers model, where there are any."""
    for name in TOKENIZER_FILES:
        if source is not None and (source / name).is_file():
            with write_aside(folder / name) as aside:
                aside.write_bytes((source / name).read_bytes())
