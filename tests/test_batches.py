"""Stacking samples: ragged axes are padded at their end."""

import numpy as np
import pytest

from edgeopt.batches import concatenate


def test_equal_shapes_are_stacked() -> None:
    assert concatenate([np.array([1, 2]), np.array([3, 4])]).tolist() == [[1, 2], [3, 4]]


def test_what_a_shorter_sample_lacks_is_filled() -> None:
    found = concatenate([np.array([[1, 2, 3]]), np.array([[4], [5]])], pad=-1)
    assert found.tolist() == [[[1, 2, 3], [-1, -1, -1]], [[4, -1, -1], [5, -1, -1]]]
    assert found.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_the_type_stays(dtype: type) -> None:
    assert concatenate([np.ones(2, dtype), np.ones(3, dtype)]).dtype == dtype
