"""A bounded sample of an activation's rows, on which ways to quantize a matrix product can be tried out.

The sample holds `limit` rows at most, spread evenly over all that streamed by: every k-th row is kept, and when the sample is
full, every second one of it goes and k doubles. No random numbers, so two runs keep the same rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowSample:
    """Rows (slices along the last axis) of the arrays it is shown."""

    def __init__(self, limit: int = 192) -> None:
        self.limit = limit
        self.step = 1
        self.seen = 0
        self._rows: list[NDArray[np.float32]] = []

    @classmethod
    def restored(cls, rows: NDArray[np.float32], *, limit: int, step: int, seen: int) -> RowSample:
        """Return a sample as it was when its state was kept."""
        sample = cls(limit)
        sample.step, sample.seen, sample._rows = step, seen, list(rows)
        return sample

    def add(self, values: NDArray[Any]) -> None:
        """Take in one array of shape […, width]."""
        rows = values.reshape(-1, values.shape[-1])
        first = -self.seen % self.step
        self.seen += rows.shape[0]
        self._rows.extend(rows[first :: self.step].astype(np.float32))
        while len(self._rows) > self.limit:
            self._rows = self._rows[::2]
            self.step *= 2

    def merge(self, later: RowSample) -> None:
        """Append the sample of what came later; as evenly spread, though not the very rows that one pass would keep."""
        step = max(self.step, later.step)
        mine, others = self._rows[:: step // self.step], later._rows[:: step // later.step]
        self._rows, self.step, self.seen = [*mine, *others], step, self.seen + later.seen
        while len(self._rows) > self.limit:
            self._rows = self._rows[::2]
            self.step *= 2

    @property
    def rows(self) -> NDArray[np.float32]:
        """The sample, of shape [rows, width]."""
        return np.stack(self._rows) if self._rows else np.zeros((0, 0), dtype=np.float32)
