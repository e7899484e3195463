"""Selection of calibration samples: a small subset that covers all.

Activation ranges depend more on which samples are seen than on how many. Each sample becomes one feature vector, the input
of the model's last product (`features.py`). Then, by k-centre greedy (Gonzalez 1985, Clustering to minimize the maximum
intercluster distance; as a core set in Sener & Savarese, https://arxiv.org/abs/1708.00489, algorithm 1), the sample that is
farthest from all that were picked is picked next:

    next = argmax_i  min_{j picked} |x_i - x_j|

After n picks no sample is farther from a picked one than twice the optimum of n picks. Labels keep their shares: a label
whose share has been picked is skipped. `random` shuffles within the labels instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples

Choice = Literal["coverage", "random"]
CHOICES: tuple[Choice, ...] = ("coverage", "random")
Indices = NDArray[np.int64]


def select(
    count: int,
    candidates: Indices,
    *,
    labels: NDArray[np.int64] | None,
    features: NDArray[Any] | None = None,
    seed: int = 0,
) -> Indices:
    """Return `count` of the candidates (all, if there are fewer), in the order they were picked.

    Args:
        count: number of samples to pick.
        candidates: indices of the samples that may be picked.
        labels: of the candidates; None: no strata.
        features: of the candidates, [candidates, width], to cover; None: pick at random.
        seed: seed of the first pick, or of all random picks.
    """
    count = min(count, len(candidates))
    generator = np.random.default_rng(seed)
    room = _room(count, np.zeros(len(candidates), np.int64) if labels is None else labels, generator)
    if features is None:
        return candidates[_at_random(count, room, generator)]
    return candidates[_farthest(count, room, features, generator)]


def limited(samples: Samples, count: int | None, *, seed: int = 0) -> Samples:
    """Return `count` of the samples (None: all), picked at random within their labels, in their order.

    (The first that many of data that is sorted by class would be two classes of ten.)
    """
    if count is None or count >= len(samples):
        return samples
    if samples.group > 1:
        picked = select(max(count // samples.group, 1), np.arange(len(samples) // samples.group), labels=None, seed=seed)
        return samples.take(
            [group * samples.group + inner for group in sorted(picked.tolist()) for inner in range(samples.group)]
        )
    picked = select(count, np.arange(len(samples)), labels=samples.labels, seed=seed)
    return samples.take(sorted(picked.tolist()))


class _Room:
    """Number of samples of each label that may still be picked."""

    def __init__(self, group: Indices, left: NDArray[np.int64]) -> None:
        self.group, self.left = group, left

    def open(self) -> NDArray[np.bool_]:
        """Return for each candidate whether its label has room."""
        return np.asarray(self.left[self.group] > 0)

    def take(self, index: int) -> None:
        self.left[self.group[index]] -= 1


def _room(count: int, labels: NDArray[np.int64], generator: np.random.Generator) -> _Room:
    """Divide `count` in proportion to the labels; the rest goes to the largest remainders, ties at random."""
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    shares = count * sizes / sizes.sum()
    quota = np.floor(shares).astype(np.int64)
    order = np.lexsort((generator.random(len(sizes)), -(shares - quota)))
    quota[order[: count - quota.sum()]] += 1
    return _Room(group.astype(np.int64), quota)


def _at_random(count: int, room: _Room, generator: np.random.Generator) -> Indices:
    picked: list[int] = []
    for index in generator.permutation(len(room.group)):
        if len(picked) < count and room.left[room.group[index]] > 0:
            room.take(int(index))
            picked.append(int(index))
    return np.array(picked, dtype=np.int64)


def _farthest(count: int, room: _Room, features: NDArray[Any], generator: np.random.Generator) -> Indices:
    x = features.astype(np.float32)
    squares = np.einsum("ij,ij->i", x, x)  # [candidates]
    nearest = np.full(len(x), np.inf, dtype=np.float32)
    allowed = room.open()
    current = int(generator.choice(np.flatnonzero(allowed)))
    picked: list[int] = []
    while True:
        picked.append(current)
        room.take(current)
        if len(picked) == count:
            return np.array(picked, dtype=np.int64)
        distance = np.maximum(squares + squares[current] - 2 * (x @ x[current]), 0)
        nearest = np.minimum(nearest, distance)
        nearest[current] = -1  # never again, even among equals
        current = int(np.argmax(np.where(room.open(), nearest, -2)))


def radius(features: NDArray[Any], picked: Indices) -> float:
    """Return the largest distance of a candidate from its nearest picked sample."""
    x = features.astype(np.float64)
    nearest = np.full(len(x), np.inf)
    for index in picked:
        nearest = np.minimum(nearest, np.square(x - x[index]).sum(axis=1))
    return float(np.sqrt(nearest.max()))
