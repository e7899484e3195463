"""Options of distillation."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.train.config import TrainOptions


class DistillLoss(Options):
    """The loss a student is trained with."""

    temperature: float = Field(default=4.0, gt=0)
    """Divides the logits of teacher and student before softmax; the loss is multiplied by its square."""
    soft_weight: float = Field(default=0.7, ge=0, le=1)
    """Weight of the soft-label loss; the rest is cross-entropy with the hard labels at temperature 1."""
    hidden_weight: float = Field(default=0.0, ge=0)
    """Weight of the mean squared error between the student's hidden states and those of the matching teacher layers."""


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
