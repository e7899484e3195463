"""Split samples that come from one source: seeded, in the labels' shares, always in the same way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.samples import Samples
from edgeopt.data.select import select
from edgeopt.errors import DataError

SHARES = {"train": 0.8, "calibration": 0.1, "evaluation": 0.1}
"""Of samples that come from one source alone."""

MODEL_SHARES = {"calibration": 0.2, "evaluation": 0.8}
"""The same for a model that is not trained."""


def split(samples: Samples, shares: dict[str, float], *, seed: int = 0) -> dict[str, Samples]:
    """Return disjoint parts of `samples`, in their order, by name.

    Samples that belong together (`Samples.group`) stay together; each label has its share in each part.

    Args:
        samples: of one source.
        shares: of each part, by name; the last one gets what is left.
        seed: of the choice.

    Raises:
        DataError: there are fewer samples than parts.
    """
    groups = len(samples) // samples.group
    if groups < len(shares):
        raise DataError(f"{groups} samples cannot be split into {', '.join(shares)}; name a source for each of them")
    labels = None if samples.labels is None or samples.group > 1 else samples.labels
    left = np.arange(groups, dtype=np.int64)
    parts: dict[str, NDArray[np.int64]] = {}
    for place, (name, share) in enumerate(shares.items()):
        last = place == len(shares) - 1
        count = len(left) if last else min(max(1, round(share * groups)), len(left) - (len(shares) - place - 1))
        chosen = left if last else select(count, left, labels=None if labels is None else labels[left], seed=seed + place)
        parts[name] = np.sort(chosen)
        left = np.setdiff1d(left, chosen)
    inner = np.arange(samples.group)
    return {name: samples.take((part[:, None] * samples.group + inner).reshape(-1).tolist()) for name, part in parts.items()}
