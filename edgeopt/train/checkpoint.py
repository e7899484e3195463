"""Checkpoints without pickles: one safetensors file from which a training resumes bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.errors import IntegrityError
from edgeopt.files import write_aside
from edgeopt.sealed import SEAL, check_seal, tensors_hash

_MODEL, _OPTIMIZER, _RANDOM = "model.", "optimizer.", "random"


@dataclass
class Progress:
    """Progress of a training: steps done, and the curve so far."""

    step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: Progress, *, key: str = "") -> None:
    """Write model, optimizer, random state and progress to `path`, atomically; `key` identifies the training."""
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in entry.items()}
    tensors[_RANDOM] = torch.get_rng_state()
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"progress": json.dumps(vars(state)), "key": key}
    with write_aside(path) as aside:
        save_file(whole, aside, metadata={**metadata, SEAL: _hash(whole, metadata)})


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, key: str = "") -> Progress | None:
    """Load the checkpoint at `path` into `model`, `optimizer` and the random generator.

    Returns:
        Its progress; None if there is none, or if it is damaged or of another training, with a message.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        check_seal(path, metadata.get(SEAL), _hash(tensors, metadata), advice="the training starts again")
        state = Progress(**json.loads(metadata["progress"]))
    except IntegrityError as error:
        progress.note(str(error))
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        progress.note(f"{path}: damaged (not a whole checkpoint); the training starts again")
        return None
    if metadata["key"] != key:
        progress.note(f"{path}: of another training (other model, data or options); this one starts from the beginning")
        return None
    model.load_state_dict({name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)})
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            index, _, key = name.removeprefix(_OPTIMIZER).partition(".")
            entries.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors[_RANDOM])
    return state


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights: names, types, shapes and values."""
    return _hash({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, {})


def _hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the hash of a checkpoint's content; tensors as bytes, because numpy lacks some of torch's types."""
    parts = ((name, f"{tensor.dtype}{list(tensor.shape)}", _bytes(tensor)) for name, tensor in tensors.items())
    return tensors_hash(parts, metadata)


def _bytes(tensor: Tensor) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = tensor.reshape(-1).view(torch.uint8).numpy()
    return values
