"""The order of an epoch: batches of sample indices, shuffled, from the seed and the epoch's number alone.

Ragged samples are batched with others of about their length, so that little is padded. Samples that belong together
(`Samples.group`, such as the two texts of a pair) come in the same batch: the loss of a pair needs both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.samples import Samples

_BUCKET_BATCHES = 50
"""Batches within which samples are sorted by length; the larger, the less padding, and the less random the order."""


def epoch_batches(samples: Samples, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Return the epoch's batches of sample indices; groups stay whole, so an odd batch size of pairs is rounded down."""
    return ordered(lengths_of(samples), len(samples), batch_size, (seed, epoch), group=samples.group)


def ordered(
    lengths: NDArray[Any] | None, count: int, batch_size: int, seeds: tuple[int, int], *, group: int = 1
) -> list[list[int]]:
    """Return batches of indices of `count` samples.

    Args:
        lengths: of each sample, which those of one batch have about the same of; None: all are alike.
        count: number of samples.
        batch_size: samples per batch.
        seeds: of the order, such as the training's seed and the epoch.
        group: number of consecutive samples that stay together.
    """
    generator = np.random.Generator(np.random.PCG64(seeds))
    order = generator.permutation(-(-count // group))
    size = _groups(batch_size, group)
    if lengths is None:
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        return [_members(batch, count, group) for batch in batches]
    longest = np.maximum.reduceat(lengths, np.arange(0, count, group))
    batches = []
    for start in range(0, len(order), size * _BUCKET_BATCHES):
        run = order[start : start + size * _BUCKET_BATCHES]
        run = run[np.argsort(longest[run], kind="stable")]
        batches += [run[place : place + size] for place in range(0, len(run), size)]
    return [_members(batches[index], count, group) for index in generator.permutation(len(batches))]


def batch_count(samples: Samples, batch_size: int) -> int:
    """Return how many batches an epoch has."""
    return math.ceil(math.ceil(len(samples) / samples.group) / _groups(batch_size, samples.group))


def lengths_of(samples: Samples) -> NDArray[Any] | None:
    """Return each sample's number of elements, or None if all samples have one shape (judged from the first 64)."""
    ragged = any(
        samples[index][name].shape != array.shape
        for name, array in samples[0].items()
        for index in range(min(64, len(samples)))
    )
    if not ragged:
        return None
    return np.asarray([max(array.size for array in samples[index].values()) for index in range(len(samples))])


def _groups(batch_size: int, group: int) -> int:
    """Return how many groups a batch holds."""
    return max(1, batch_size // group)


def _members(groups: NDArray[Any], count: int, group: int) -> list[int]:
    """Return the samples of groups; the last group of all may lack some."""
    samples = (groups[:, None] * group + np.arange(group)).reshape(-1)
    return [int(index) for index in samples if index < count]
