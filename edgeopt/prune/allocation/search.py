"""Search for weights of the parts' errors under which the chosen versions are really best (SPDY, section 3.2).

A part's error says little about how much the model's outputs suffer. So each error is multiplied by a weight, the versions
are chosen by dynamic programming, and the model that results is judged: KL divergence of its outputs from the whole model's on
calibration data. Weights that were best so far are changed at random; the better ones stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeopt import progress
from edgeopt.prune.allocation.dynamic import Option, choose

_SPREAD = 1.0
"""Standard deviation of the weights' logarithms, which shrinks while the search goes on."""


@dataclass(frozen=True)
class Found:
    """The best choice: the key by part, how far its outputs are from the whole model's, and how many were judged."""

    chosen: Mapping[str, int]
    divergence: float
    judged: int


def search(
    parts: Mapping[str, Sequence[Option]],
    budget: float,
    judge: Callable[[Mapping[str, int]], float],
    *,
    rounds: int,
    seed: int = 0,
) -> Found | None:
    """Return the best choice within `budget` after at most `rounds` judgements; None if nothing fits."""
    first = choose(parts, budget)
    if first is None:
        return None
    generator = np.random.default_rng(seed)
    names = list(parts)
    weights = np.zeros(len(names))
    seen = {tuple(first[name] for name in names)}
    best = Found(first, judge(first), 1)
    with progress.task("allocation", total=rounds) as advance:
        for turn in range(1, rounds):
            advance()
            changed = weights + _moved(generator, len(names), turn / rounds)
            tried = choose(_weighted(parts, names, changed), budget)
            key = tuple(tried[name] for name in names) if tried else ()
            if tried is None or key in seen:
                continue
            seen.add(key)
            divergence = judge(tried)
            best = replace(best, judged=best.judged + 1)
            if divergence < best.divergence:
                weights, best = changed, Found(tried, divergence, best.judged)
    return best


def _moved(generator: np.random.Generator, count: int, done: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return what is added to the weights' logarithms: to all at first, to a few later."""
    share = 1.0 if done < 0.3 else 0.3
    return generator.normal(0, _SPREAD * (1.2 - done), count) * (generator.random(count) < max(share, 1.5 / count))


def _weighted(
    parts: Mapping[str, Sequence[Option]], names: Sequence[str], logarithms: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> dict[str, list[Option]]:
    factors = dict(zip(names, np.exp(logarithms), strict=True))
    return {
        name: [replace(option, error=option.error * float(factors[name])) for option in options]
        for name, options in parts.items()
    }
