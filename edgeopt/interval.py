"""A measured figure and its confidence interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds that hold it, as far as they are known."""

    value: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
