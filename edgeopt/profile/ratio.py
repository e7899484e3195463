"""Ratio of the latencies of two variants, from interleaved runs.

Idea. The variants run interleaved (A B, B A, A B, …), so a disturbance longer than one turn affects both. Each
round gives one ratio of medians, b / a; the median of those ratios has a distribution-free interval (see order_statistics),
which assumes neither normal latencies nor a steady machine.

Two sessions of one file differ slightly every time (by their memory addresses), and enough rounds would make any
difference "significant". So a difference counts only if the interval lies outside 1 ± margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeopt.verdict.order_statistics import QuantileInterval, Samples, quantile_interval

Decision = Literal["slower", "faster", "same", "undecided"]


def ratio_interval(a: Sequence[Samples], b: Sequence[Samples], confidence: float) -> QuantileInterval | None:
    """Return the interval of time(b) / time(a).

    Args:
        a: one array of samples for each round.
        b: the same of the other variant, round by round from the same moments.
        confidence: of the two-sided interval.
    """
    pairs = [np.median(right) / np.median(left) for left, right in zip(a, b, strict=True) if len(left) and len(right)]
    return quantile_interval(np.array(pairs), 0.5, confidence) if pairs else None


def decide(interval: QuantileInterval | None, margin: float) -> Decision:
    """Say whether b is slower or faster than a by more than `margin`, the same within it, or not known yet."""
    if interval is None:
        return "undecided"
    if interval.low > 1 + margin:
        return "slower"
    if interval.high < 1 - margin:
        return "faster"
    return "same" if 1 - margin <= interval.low and interval.high <= 1 + margin else "undecided"
