"""What the stage `prune` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeopt.models.model_size import ModelSize
from edgeopt.train.epoch import Epoch


@dataclass(frozen=True)
class LayerWidth:
    """A layer's output channels before and after."""

    name: str
    channels_before: int
    channels_after: int


@dataclass(frozen=True)
class PruneFacts:
    """What went, and the recovery.

    `history` has one entry per epoch; `spared` the layers that could not be cut and stayed whole, by name, with the reason.
    """

    before: ModelSize
    after: ModelSize
    layers: tuple[LayerWidth, ...]
    history: tuple[Epoch, ...]
    spared: Mapping[str, str]


@dataclass(frozen=True)
class PruneResult(PruneFacts):
    """The pruned model's folder, what went, and the recovery."""

    path: Path
