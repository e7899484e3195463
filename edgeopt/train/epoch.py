"""One epoch of a training, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with: the mean loss of its steps, and the accuracy where it was measured."""

    epoch: int
    loss: float
    accuracy: float | None = None
