"""The result of a paired comparison, apart from its computation, so that a report is read without numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Paired:
    """How the metric of one model differs from that of another on the same samples."""

    difference: float
    """The model's value minus the other's."""
    low: float
    high: float
    p_value: float
    """Chance of a difference at least this large between models that are equally good."""
    changed: int
    """Answers that differ, right or wrong."""
    samples: int
    method: Literal["mcnemar", "bootstrap"]
    lost: int | None = None
    """Answers that were right and are wrong now; None where answers are not right or wrong."""
    gained: int | None = None
