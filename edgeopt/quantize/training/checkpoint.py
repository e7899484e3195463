"""The state of a training on disk, so that a run that was killed resumes.

It is written when a phase ends, and within one at most every ten seconds: after a block, or when held-aside samples were looked
at. The file belongs to one network, its samples and options (`key`): the state of another training is replaced, and so is a
damaged one. Blocks that are trained again give the same result; the optimizer of the last phase starts again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.config import Options
from edgeopt.files import write_aside
from edgeopt.hashed_files import SEAL, tensors_hash

State = dict[str, Tensor]
_EVERY_S = 10.0
_KEPT, _NOW = "kept.", "now."


class Phase(IntEnum):
    """What is to be done next."""

    ROUNDING = 0
    BLOCKS = 1
    WHOLE = 2


@dataclass
class PhaseProgress:
    """How far a training is."""

    phase: Phase = Phase.ROUNDING
    blocks: int = 0
    """Blocks that are trained."""
    steps: int = 0
    """Steps of the whole network."""
    start: float = 0.0
    """Before training: SQNR of the held-aside outputs in dB, or of a language model its divergence on windows held aside."""
    best: float = 0.0
    """The best of them so far: that of the state that is kept."""
    held: int = 0
    """Held-aside samples that both are of."""
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Time that earlier runs spent."""
    rounding: list[str] | None = None
    """The decision of adaptive rounding (what, choice, reason), where it was better."""


class Checkpoint:
    """The file of one training; without a path nothing is kept."""

    def __init__(self, path: Path | None, key: str) -> None:
        self._path, self._key = path, key
        self._saved = time.monotonic()

    def load(self) -> tuple[PhaseProgress, State, State] | None:
        """Return what an earlier run of the same training left: progress, best and last state; None if there is nothing."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            with safe_open(self._path, "pt") as file:
                metadata = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        except (OSError, SafetensorError) as error:
            progress.note(f"{self._path}: cannot be read ({error}); training begins again")
            return None
        if metadata.get("key") != self._key:
            progress.note(f"{self._path}: is of another training, which begins again")
            return None
        if metadata.get(SEAL) != _hash(tensors, metadata):
            progress.note(f"{self._path}: damaged (its SHA-256 is not the recorded one); training begins again")
            return None
        values = json.loads(metadata["progress"])
        found = PhaseProgress(**values | {"phase": Phase(values["phase"])})
        kept, now = (
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            for prefix in (_KEPT, _NOW)
        )
        progress.note(f"training resumes from {self._path}, after {found.seconds:.0f} s")
        return found, kept, now or kept

    def save(self, state: PhaseProgress, kept: State, now: State | None = None, *, always: bool = False) -> None:
        """Write progress, best state, and the last state where that differs; at most every ten seconds if not `always`."""
        if self._path is None or not (always or time.monotonic() - self._saved >= _EVERY_S):
            return
        tensors = {f"{_KEPT}{name}": tensor for name, tensor in kept.items()}
        tensors |= {f"{_NOW}{name}": tensor for name, tensor in (now or {}).items()}
        whole = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        metadata = {"key": self._key, "progress": json.dumps(asdict(state))}
        with write_aside(self._path) as aside:
            save_file(whole, aside, metadata={**metadata, SEAL: _hash(whole, metadata)})
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file: the training is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def key_of(state: State, samples: Sequence[Batch], options: Options) -> str:
    """Return what tells one training from others: its network as it begins, its samples, and its options but for the time."""
    digest = hashlib.sha256(_hash(state, {}).encode())
    for sample in samples:
        digest.update(tensors_hash(((name, str(values.dtype), values) for name, values in sample.items()), {}).encode())
    digest.update(options.model_dump_json(exclude={"time", "checkpoint"}).encode())
    digest.update(torch.__version__.encode())
    return digest.hexdigest()


def _hash(tensors: State, metadata: Mapping[str, str]) -> str:
    return tensors_hash(((name, str(tensor.dtype), tensor.detach().numpy()) for name, tensor in tensors.items()), metadata)
