"""The order of an epoch: every sample once, with others of its length, and those that belong together in one batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeopt.data.samples import Samples
from edgeopt.train.order import batch_count, epoch_batches


def data(count: int, *, ragged: bool = False, group: int = 1) -> Samples:
    lengths = np.random.default_rng(0).integers(1, 100, count) if ragged else np.full(count, 4)
    return Samples(count, lambda index: {"ids": np.ones(lengths[index], np.int64)}, None, "x", group=group)


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def test_every_sample_comes_once_an_epoch_in_another_order() -> None:
    samples = data(50)
    first, second = (epoch_batches(samples, 8, seed=1, epoch=epoch) for epoch in (0, 1))
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(50))
    assert first != second
    assert first == epoch_batches(samples, 8, seed=1, epoch=0)


def test_ragged_samples_are_batched_with_their_like() -> None:
    samples = data(600, ragged=True)
    batches = epoch_batches(samples, 10, seed=0, epoch=0)
    assert sorted(flat(batches)) == list(range(600))
    spread = np.mean([np.ptp([len(samples[index]["ids"]) for index in batch]) for batch in batches])
    assert spread < 10, f"lengths within a batch differ by {spread:.1f} on average; random batches by about 80"


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 8])
def test_pairs_stay_in_one_batch(ragged: bool, batch_size: int) -> None:
    samples = data(60, ragged=ragged, group=2)
    batches = epoch_batches(samples, batch_size, seed=3, epoch=2)
    assert sorted(flat(batches)) == list(range(60))
    for batch in batches:
        assert len(batch) <= max(2, batch_size)
        assert all(index ^ 1 in batch for index in batch), f"{batch} has one half of a pair"
    assert len(batches) == batch_count(samples, batch_size)


def test_a_last_group_that_lacks_samples_is_kept() -> None:
    """Single samples behind pairs, as unlabelled ones are."""
    samples = replace(data(61, ragged=True), group=2)
    assert sorted(flat(epoch_batches(samples, 8, seed=0, epoch=0))) == list(range(61))
