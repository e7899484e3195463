"""Options of the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeopt.config import Options


class TrainOptions(Options):
    """How a model is trained."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training split; may be a fraction."""
    batch_size: int = Field(default=32, ge=1)
    """Samples per step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate of the schedule."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of AdamW; not applied to normalisations and biases."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision, as in Accelerate."""
    checkpoint_seconds: float = Field(default=10.0, ge=0)
    """Seconds between checkpoints; a killed training resumes from the last one."""


class DistillLoss(Options):
    """The loss a student is trained with."""

    temperature: float = Field(default=4.0, gt=0)
    """Divides the logits of teacher and student before softmax; the loss is multiplied by its square."""
    soft_weight: float = Field(default=0.7, ge=0, le=1)
    """Weight of the soft-label loss; the rest is cross-entropy with the hard labels at temperature 1."""
    hidden_weight: float = Field(default=0.0, ge=0)
    """Weight of the mean squared error between the student's hidden states and those of the matching teacher layers."""
