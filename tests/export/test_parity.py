from __future__ import annotations

import numpy as np
import pytest

from edgeopt.export.parity import compare, parity_batches


def test_the_error_is_relative_to_the_largest_magnitude():
    found = compare(np.array([1.0, -20.0]), np.array([1.0, -19.0]))
    assert found.absolute == pytest.approx(1.0)
    assert found.relative == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (np.ones(3), np.ones(4)),
        (np.ones(2), np.array([1.0, np.nan])),
        (np.array([1.0, np.inf]), np.array([1.0, 2.0])),
    ],
)
def test_other_shapes_and_values_that_are_not_finite_are_infinitely_far(expected, actual):
    assert compare(expected, actual).relative == float("inf")


def test_equal_infinities_and_empty_outputs_are_no_difference():
    masked = np.array([1.0, -np.inf], np.float32)
    assert compare(masked, masked.copy()).relative == 0
    assert compare(np.ones((0, 3)), np.ones((0, 3))).relative == 0


def test_integers_must_be_equal():
    assert compare(np.array([1, 2]), np.array([1, 2])).relative == 0
    assert compare(np.array([1, 2]), np.array([1, 3])).relative == 1


def test_batches_differ_in_size_and_length_and_keep_the_real_rows():
    samples = [{"ids": np.arange(1, n + 1)[None]} for n in (7, 3, 5)]
    batches = parity_batches(samples, {"ids": {0: "batch", 1: "sequence"}}, limit=8)
    assert [batch["ids"].shape for batch in batches] == [(1, 3), (1, 7), (3, 7), (3, 7)]
    assert batches[2]["ids"][0].tolist() == [1, 2, 3, 0, 0, 0, 0]


def test_a_fixed_batch_is_left_alone():
    samples = [{"ids": np.ones((2, 3))}]
    assert parity_batches(samples, {"ids": {}}, limit=8) == samples
    assert parity_batches(samples, {"ids": {0: "time"}}, limit=8) == samples
    assert parity_batches(samples, {"ids": {0: "time", 1: "batch"}}, limit=8) == samples
