"""Signal-to-quantization-noise ratio: how far rounded values are from exact ones, over any number of batches.

    SQNR = 10·log10( Σ x² / Σ (x - y)² )  in dB, x exact, y rounded

6 dB more is one bit more. Where x itself is infinite or NaN nothing is compared; where x is finite and y is not, all is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CEILING_DB = 150.0
"""Beyond this, in either direction, differences are float32's own."""


def sqnr_db(signal: float, noise: float) -> float:
    """Return 10·log10(signal / noise), limited to ±150 dB."""
    if noise <= 0:
        return CEILING_DB
    if signal <= 0 or not np.isfinite(noise):
        return -CEILING_DB
    return float(np.clip(10 * np.log10(signal / noise), -CEILING_DB, CEILING_DB))


@dataclass
class Noise:
    """Sums of squares of exact values and of what rounded ones differ by."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, exact: NDArray[Any], rounded: NDArray[Any]) -> None:
        """Take in values of the same shape."""
        x, y = (np.asarray(values, dtype=np.float64) for values in (exact, rounded))
        finite = np.isfinite(x)
        if not finite.all():
            x, y = x[finite], y[finite]
        self.signal += float(np.square(x).sum())
        self.noise += float(np.square(x - y).sum()) if np.isfinite(y).all() else float("inf")

    @property
    def db(self) -> float:
        """The ratio in dB."""
        return sqnr_db(self.signal, self.noise)
