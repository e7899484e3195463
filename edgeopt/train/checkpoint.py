"""Checkpoints without pickles: one safetensors file from which a training resumes bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.errors import IntegrityError
from edgeopt.files import write_aside
from edgeopt.hashed_files import SEAL, check_seal, tensors_hash

_MODEL, _LEARNED, _OPTIMIZER, _RANDOM = "model.", "learned.", "optimizer.", "random"


@dataclass
class Progress:
    """Progress of a training: steps done, and the curve so far."""

    step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    part_sums: dict[str, float] = field(default_factory=dict)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    best_step: int | None = None
    """The step with the best evaluation."""
    best_merit: float | None = None
    """Its merit (`edgeopt.train.watch.Score`)."""
    seconds: float = 0.0
    """Time spent so far, for trainings with a limit."""


@dataclass(frozen=True)
class Trained:
    """What a checkpoint is of: the model, its optimizer, and what the objective learns along with it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    learned: nn.Module | None = None


def save_checkpoint(path: Path, trained: Trained, state: Progress, *, key: str = "", random: Tensor | None = None) -> None:
    """Write model, optimizer, random state and progress to `path`, atomically.

    Args:
        path: the file.
        trained: what is saved.
        state: the progress.
        key: identifies the training.
        random: random states of all processes, [processes, bytes]; None: that of this process.
    """
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in trained.model.state_dict().items()}
    if trained.learned is not None:
        tensors |= {f"{_LEARNED}{name}": tensor for name, tensor in trained.learned.state_dict().items()}
    numbers: dict[str, Any] = {}
    for index, entry in trained.optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = value
    tensors[_RANDOM] = torch.get_rng_state() if random is None else random
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"progress": json.dumps(asdict(state)), "key": key, "optimizer": json.dumps(numbers)}
    with write_aside(path) as aside:
        save_file(whole, aside, metadata={**metadata, SEAL: _hash(whole, metadata)})


def load_checkpoint(path: Path, trained: Trained, *, key: str = "", process: int = 0) -> Progress | None:
    """Load the checkpoint at `path` into what is trained, and the random generator with the state of process `process`.

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
        numbers = json.loads(metadata["optimizer"])
    except IntegrityError as error:
        progress.note(str(error))
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        progress.note(f"{path}: damaged (not a whole checkpoint); the training starts again")
        return None
    if metadata["key"] != key:
        progress.note(f"{path}: of another training (other model, data or options); this one starts from the beginning")
        return None
    _restore(tensors, numbers, trained)
    _restore_random(tensors[_RANDOM], process)
    return state


def _restore(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], trained: Trained) -> None:
    trained.model.load_state_dict(_below(tensors, _MODEL))
    if trained.learned is not None:
        trained.learned.load_state_dict(_below(tensors, _LEARNED))
    entries: dict[int, dict[str, Any]] = {}
    for name, value in [*_below(tensors, _OPTIMIZER).items(), *numbers.items()]:
        index, _, key = name.partition(".")
        entries.setdefault(int(index), {})[key] = value
    trained.optimizer.load_state_dict({"state": entries, "param_groups": trained.optimizer.state_dict()["param_groups"]})


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore_random(states: Tensor, process: int) -> None:
    own = states if states.ndim == 1 else states[process % len(states)]
    torch.set_rng_state(own.clone())  # PyTorch 2.13 reads a view's memory from the start of its storage, or crashes


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of `model` to `path`, atomically, tied ones once per name."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    with write_aside(path) as aside:
        save_file(whole, aside, metadata={SEAL: _hash(whole, {})})


def load_weights(path: Path, model: nn.Module) -> None:
    """Load what `save_weights` wrote.

    Raises:
        IntegrityError: the file is damaged.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            seal = (file.metadata() or {}).get(SEAL)
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path}: the weights of the best evaluation cannot be read: {error}") from error
    check_seal(path, seal, _hash(tensors, {}), advice="remove the folder to train again")
    model.load_state_dict(tensors)


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
