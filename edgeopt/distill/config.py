"""Options of distillation."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.train.config import DistillLoss, TrainOptions


class DistillOptions(Options):
    """Which student is trained, and how."""

    source: str | None = None
    """The student as module:callable; give this or `layers`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the callable of `source`."""
    layers: list[int] | None = None
    """Layers of the transformers teacher (from 0) that the student keeps, in order; give this or `source`."""
    loss: DistillLoss = DistillLoss()
    train: TrainOptions = TrainOptions()

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if (self.source is None) == (self.layers is None):
            raise ValueError("give either source (module:callable) or layers (numbers of the teacher's layers)")
        return self
