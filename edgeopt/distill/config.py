"""Options of distillation."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.train.config import TrainOptions


class DistillLoss(Options):
    """What the student is taught by."""

    temperature: float = Field(default=4.0, gt=0)
    """Softens teacher's and student's probabilities; the loss is scaled by its square."""
    soft_weight: float = Field(default=0.7, ge=0, le=1)
    """Share of the soft-label loss; the rest is cross-entropy with the hard labels at temperature 1."""
    hidden_weight: float = Field(default=0.0, ge=0)
    """Weight of the mean squared error between the student's hidden states and those of the teacher layers they stand for."""


class DistillOptions(Options):
    """Which student, and how it learns."""

    source: str | None = None
    """The student as module:callable; or give `layers`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """For `source`."""
    layers: list[int] | None = None
    """The teacher's layers (from 0) that a transformers student is made of, in order; or give `source`."""
    loss: DistillLoss = DistillLoss()
    train: TrainOptions = TrainOptions()

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if (self.source is None) == (self.layers is None):
            raise ValueError("give either source (module:callable) or layers (numbers of the teacher's layers)")
        return self
