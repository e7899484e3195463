"""Choose one version of every part so that the errors are smallest and the costs fit into a budget.

Dynamic programming over the budget in steps (SPDY, Frantar & Alistarh 2022, https://arxiv.org/abs/2201.13096, section 3.1):

    D[p, b] = min over versions v of part p of  D[p − 1, b − cost(p, v)] + error(p, v)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 2000


@dataclass(frozen=True)
class Option:
    """A version that can be chosen: its name, its cost in the budget's unit, and its error."""

    key: int
    cost: float
    error: float


def choose(parts: Mapping[str, Sequence[Option]], budget: float) -> dict[str, int] | None:
    """Return the key of the chosen option by part, or None if even the cheapest do not fit into `budget`.

    Costs are rounded up to steps of budget / 2000, so that the choice never exceeds the budget.
    """
    if not parts:
        return {}
    if budget <= 0 or sum(min(option.cost for option in options) for options in parts.values()) > budget:
        return None
    scale = _STEPS / budget
    best = np.zeros(_STEPS + 1)
    back: list[NDArray[np.int64]] = []
    for options in parts.values():
        table = np.full((len(options), _STEPS + 1), np.inf)
        for row, option in enumerate(options):
            cost = int(np.ceil(max(0.0, option.cost) * scale - 1e-9))
            if cost <= _STEPS:
                table[row, cost:] = best[: _STEPS + 1 - cost] + option.error
        picked = table.argmin(axis=0)
        back.append(picked)
        best = table[picked, np.arange(_STEPS + 1)]
    if not np.isfinite(best[_STEPS]):
        return {name: min(options, key=lambda option: option.cost).key for name, options in parts.items()}
    chosen: dict[str, int] = {}
    left = _STEPS
    for (name, options), picked in reversed(list(zip(parts.items(), back, strict=True))):
        option = options[int(picked[left])]
        chosen[name] = option.key
        left -= int(np.ceil(max(0.0, option.cost) * scale - 1e-9))
    return {name: chosen[name] for name in parts}
