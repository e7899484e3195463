"""Without a task or labels: best classes where there are classes, and errors where labels are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.outputs_only import OutputsOnly

TASK = OutputsOnly()
SAMPLE = {"ids": np.zeros(3, np.int64)}


def test_only_classes_are_answers() -> None:
    assert TASK.answer({"y": np.array([0.1, 0.7, 0.2])}, SAMPLE) == 1
    tags = TASK.answer({"y": np.eye(3)[[2, 0, 1]]}, SAMPLE)  # one row per token
    assert tags is not None
    assert tags.tolist() == [2, 0, 1]
    assert TASK.answer({"y": np.zeros((5, 4))}, SAMPLE) is None  # rows that are no tokens, such as boxes
    assert TASK.answer({"boxes": np.zeros(4), "scores": np.zeros(4)}, SAMPLE) is None


def test_integers_and_truth_values_are_answers_themselves() -> None:
    for values in (np.array(4), np.array([[0, 2, 2]]), np.array([True, False])):
        answer = TASK.answer({"label": values}, SAMPLE)
        assert answer is not None
        assert answer.tolist() == values.tolist()
    assert TASK.answer({"label": np.array(4), "score": np.array(0.5)}, SAMPLE) is None


def test_models_agree_position_by_position_or_not_at_all() -> None:
    assert TASK.agreement([np.array([1, 2, 3]), np.array([4])], [np.array([1, 2, 0]), np.array([4])]) == 0.75
    assert TASK.agreement([None], [None]) is None


def test_labels_are_never_known() -> None:
    samples = from_arrays({"x": np.zeros((2, 1))}, np.array([0, 1]))
    assert not TASK.is_labelled(samples)
    with pytest.raises(DataError, match="name it with --task"):
        TASK.labels(samples, [0], {})
    with pytest.raises(DataError, match="name it with --task"):
        TASK.measure([0, 1], samples)
