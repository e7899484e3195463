"""What the stage `distill` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeopt.models.model_size import ModelSize
from edgeopt.train.epoch import Epoch


@dataclass(frozen=True)
class DistillFacts:
    """How the student came to be; `history` has one entry per epoch."""

    teacher: ModelSize
    student: ModelSize
    steps: int
    history: tuple[Epoch, ...]


@dataclass(frozen=True)
class DistillResult(DistillFacts):
    """The student's folder, and how it came to be."""

    path: Path
