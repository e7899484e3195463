"""Checkpoints without pickles: one safetensors file with all a training needs to go on, bit by bit, as if never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeopt.files import write_aside

_MODEL, _OPTIMIZER, _RANDOM = "model.", "optimizer.", "random"


@dataclass
class Progress:
    """How far a training is: steps done, and the curve so far."""

    step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: Progress) -> None:
    """Write model, optimizer, random state and progress to `path`, whole or not at all."""
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in model.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": value for name, value in entry.items()}
    tensors[_RANDOM] = torch.get_rng_state()
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with write_aside(path) as aside:
        save_file(whole, aside, metadata={"progress": json.dumps(vars(state))})


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Put the checkpoint at `path` into `model`, `optimizer` and the random generator; None if none can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            state = Progress(**json.loads(file.metadata()["progress"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
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
