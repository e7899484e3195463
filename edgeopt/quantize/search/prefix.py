"""The smallest set of exceptions: how many of the most sensitive nodes must stay in floating point to keep the metric.

The nodes come sorted, worst first, so that only their number is sought: none, then 1, 2, 4 … until the metric holds, then by
halving between the last that failed and the first that held. That is about 2·log2(n) evaluations.
"""

from __future__ import annotations

from collections.abc import Callable


def smallest_prefix(count: int, holds: Callable[[int], bool]) -> int | None:
    """Return the smallest k in 0 … count for which holds(k), taken to be monotone, or None if not even holds(count)."""
    failed, tried = -1, 0
    while not holds(tried):
        if tried == count:
            return None
        failed, tried = tried, min(max(2 * tried, 1), count)
    held = tried
    while held - failed > 1:
        middle = (held + failed) // 2
        if holds(middle):
            held = middle
        else:
            failed = middle
    return held
