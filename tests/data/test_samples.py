"""Samples and batches: order, padding, digests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeopt.batches import concatenate
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError


def ragged(lengths: list[int], pad: float = 0) -> Samples:
    return Samples(len(lengths), lambda index: {"ids": np.full(lengths[index], index + 1)}, None, "digest", {"ids": pad})


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6))
def test_padding_keeps_every_sample_and_fills_the_rest(shapes: list[tuple[int, int]]) -> None:
    parts = [np.full(shape, index + 1.0) for index, shape in enumerate(shapes)]
    stacked = concatenate(parts, pad=-1)
    assert stacked.shape == (len(parts), max(h for h, _ in shapes), max(w for _, w in shapes))
    for row, part in zip(stacked, parts, strict=True):
        assert (row[: part.shape[0], : part.shape[1]] == part).all()
        assert (row == -1).sum() == row.size - part.size


def test_batches_are_in_order_and_can_be_gone_through_again() -> None:
    samples = from_arrays({"x": np.arange(7)})
    batches = samples.batches(3)
    for _ in range(2):
        assert [batch["x"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(batches) == 3


def test_sorted_batches_need_little_padding_and_lose_nothing() -> None:
    batches = ragged([5, 1, 4, 1, 5, 2]).sorted_batches(2)
    assert batches.order == [[1, 3], [5, 2], [0, 4]]
    assert [batch["ids"].shape for batch in batches] == [(2, 1), (2, 4), (2, 5)]


def test_ragged_samples_are_padded_with_their_value() -> None:
    batch = ragged([1, 3], pad=9).collate([0, 1])
    assert batch["ids"].tolist() == [[1, 9, 9], [2, 2, 2]]


def test_taking_samples_takes_their_labels() -> None:
    samples = from_arrays({"x": np.arange(5)}, np.array([0, 1, 0, 1, 2])).take([4, 1])
    assert [samples[index]["x"] for index in range(2)] == [4, 1]
    assert samples.labels is not None
    assert samples.labels.tolist() == [2, 1]
    assert len(samples.first(1)) == 1
    with pytest.raises(IndexError):
        samples[2]


def test_the_digest_is_of_names_types_shapes_values_and_labels() -> None:
    x = np.arange(6, dtype=np.float32)
    variants = [
        from_arrays({"x": x}),
        from_arrays({"y": x}),
        from_arrays({"x": x.astype(np.float64)}),
        from_arrays({"x": x.reshape(6, 1)}),
        from_arrays({"x": x + 1}),
        from_arrays({"x": x}, np.zeros(6, np.int64)),
        from_arrays({"x": x}).take([1, 0]),
    ]
    assert len({samples.digest for samples in variants}) == len(variants)
    assert from_arrays({"x": x.copy()}).digest == variants[0].digest


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="differ in their number of samples"):
        from_arrays({"x": np.zeros(3), "y": np.zeros(2)})
    with pytest.raises(DataError, match="there are none"):
        from_arrays({})
