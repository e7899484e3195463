"""What a device can do at most, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bandwidth:
    """Bytes per second where an operator touches up to `working_set_bytes`."""

    working_set_bytes: int
    bytes_per_s: float


@dataclass(frozen=True)
class Peak:
    """Operations (2 per MAC) per second by arithmetic, and bandwidths by working set, smallest first."""

    operations_per_s: dict[str, float]
    bandwidth: list[Bandwidth]

    def bound_s(self, macs: int, moved_bytes: int, kind: str | None) -> float:
        """Return the least time in which that much can be computed and moved."""
        arithmetic = 2 * macs / self.operations_per_s.get(kind or "fp32", self.operations_per_s["fp32"])
        level = next((level for level in self.bandwidth if level.working_set_bytes >= moved_bytes), self.bandwidth[-1])
        return max(arithmetic, moved_bytes / level.bytes_per_s)
