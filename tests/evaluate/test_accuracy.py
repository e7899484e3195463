"""Accuracy: of logits and labels that belong together, with labels that can be."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.evaluate.accuracy import accuracy, right

LOGITS = np.eye(4, dtype=np.float32)


def test_the_share_of_right_answers() -> None:
    assert accuracy(LOGITS, np.array([0, 1, 2, 0]), confidence=0.95).value == 0.75
    assert right(LOGITS, np.array([3, 1, 0, 3])).tolist() == [False, True, False, True]


@pytest.mark.parametrize("labels", [[100, 101, 102, 115], [1, 2, 3, 4], [-1, 0, 1, 2]])
def test_labels_that_no_class_has_are_an_error(labels: list[int]) -> None:
    with pytest.raises(DataError, match=f"from {labels[0]} to {labels[-1]} are impossible for a model of 4 classes"):
        accuracy(LOGITS, np.array(labels), confidence=0.95)


@pytest.mark.parametrize("shape", [(4, 4, 2), (3, 4), (4,)])
def test_what_is_no_logits_of_the_samples_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"output 'y' has shape .*; \[samples, classes\] is needed, for 4 samples"):
        right(np.zeros(shape), np.zeros(4, np.int64), where="output 'y'")
