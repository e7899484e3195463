"""Several data sets as one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.joined import joined
from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError


def test_samples_follow_each_other_without_labels() -> None:
    first, second = (
        from_arrays({"x": np.arange(n, dtype=np.float32)[:, None] + 10 * n}, np.zeros(n, np.int64)) for n in (3, 2)
    )
    both = joined([first, second])
    assert [float(both[index]["x"][0]) for index in range(5)] == [30, 31, 32, 20, 21]
    assert both.labels is None
    assert both.digest not in (first.digest, second.digest)


def test_other_inputs_and_empty_sets_are_refused() -> None:
    first = from_arrays({"x": np.zeros((2, 1), np.float32)})
    with pytest.raises(DataError, match="other inputs cannot be joined: x and y"):
        joined([first, from_arrays({"y": np.zeros((2, 1), np.float32)})])
    with pytest.raises(DataError, match="data set 2 of 2 has no samples"):
        joined([first, from_arrays({"x": np.zeros((0, 1), np.float32)})])
