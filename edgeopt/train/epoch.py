"""One epoch, and one evaluation, of a training, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with: the mean loss of its steps, and the accuracy where it was measured.

    `parts` has the mean of each part of the loss.
    """

    epoch: int
    loss: float
    accuracy: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The value of the metric after a step."""

    step: int
    metric: str
    value: float
