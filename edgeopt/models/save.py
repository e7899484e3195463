"""Save a PyTorch model without pickles: builder, kept channels and weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from edgeopt.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.files import disk_errors, write_aside, write_json
from edgeopt.models.call import tensors_of
from edgeopt.models.load import MODEL_FILE, OWN_BUILDERS, Origin, load_model
from edgeopt.models.reshaped import BUILDER as RESHAPED
from edgeopt.models.reshaped import own_weights
from edgeopt.models.size import counted
from edgeopt.models.trusted_folders import remember

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
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
        if isinstance(module, PretrainedWriter) and (origin is None or origin.builder != RESHAPED):
            module.save_pretrained(folder)
            return
    if origin is None:
        raise ValueError("a module that transformers does not know needs its origin")
    from safetensors.torch import save_file

    with write_aside(folder / "model.safetensors") as aside:
        save_file(own_weights(module) if origin.builder == RESHAPED else _separate(module.state_dict()), aside)
    record = {
        "format": 1,
        "builder": origin.builder,
        "arguments": dict(origin.arguments),
        "kept": origin.kept,
        "task": origin.task,
        "labels": list(origin.labels),
    }
    write_json(folder / MODEL_FILE, record)
    if origin.builder not in OWN_BUILDERS and origin.builder != RESHAPED:
        remember(folder, folder / MODEL_FILE, origin.builder)


def _separate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with memory of their own each: tied ones share it, and safetensors does not store that."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in weights.items():
        plain = tensor.detach().contiguous().cpu()
        place = plain.untyped_storage().data_ptr()
        separate[name] = plain.clone() if place in seen else plain
        seen.add(place)
    return separate


def check_saved(module: nn.Module, folder: Path, origin: Origin | None, sample: Batch) -> None:
    """Load the folder again and check that it gives what `module` gives for `sample`.

    Raises:
        ModelError: it does not, since the builder makes another model each time or keeps something outside of its weights.
    """
    again = load_model(folder, source_builder=origin.builder if origin else None).module
    pairs = zip(*(list(tensors_of(counted(one, sample)[0])) for one in (module, again)), strict=True)
    if not all(torch.allclose(given, found, rtol=1e-4, atol=1e-5, equal_nan=True) for given, found in pairs):
        raise ModelError(
            f"{folder}: what was saved, loaded again, gives other outputs than the model; "
            f"{origin.builder if origin else 'its class'} must build the same layers each time, and keep what it learns in "
            "parameters and buffers"
        )


def copy_tokenizer(source: Path | None, folder: Path) -> None:
    """Copy the tokenizer and processor files of a transformers model, if there are any.

    A vocabulary of its own (of letters, as of CTC) only where no tokenizer.json says the same.
    """
    alone = source is not None and not (source / "tokenizer.json").is_file()
    for name in (*TOKENIZER_FILES, *(["vocab.json"] if alone else [])):
        if source is not None and (source / name).is_file():
            with write_aside(folder / name) as aside:
                aside.write_bytes((source / name).read_bytes())
