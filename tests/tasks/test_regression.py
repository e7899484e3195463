"""Regression: one number per sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.regression import Regression

TASK = Regression()


def scored(values: list[object]) -> Samples:
    return replace(from_arrays({"x": np.zeros((len(values), 1), np.float32)}), annotations=values)


def test_the_order_is_what_counts_and_the_error_is_told_beside() -> None:
    samples = scored([0.0, 1.0, 2.0, 5.0])
    answers = [TASK.answer({"y": np.array([value], np.float32)}, {}) for value in (1.0, 2.0, 3.0, 4.0)]
    assert TASK.measure(answers, samples).value == pytest.approx(1.0)
    pearson, error = TASK.further(answers, samples)
    assert pearson.value < 1.0
    assert error.value == pytest.approx(1.0)
    assert TASK.agreement(answers, answers[::-1]) == pytest.approx(-1.0)
    assert TASK.changed(answers, [1.0, 2.0, 3.0, 4.2]) == 1


def test_the_loss_is_the_squared_error() -> None:
    labels = TASK.labels(scored([1.0, 3.0]), [1, 0], {})
    found = TASK.loss({"logits": torch.tensor([[1.0], [2.0]])}, {"labels": torch.from_numpy(labels["labels"])})
    assert float(found.mean()) == pytest.approx((4.0 + 1.0) / 2)


@pytest.mark.parametrize("values", [["a", "b"], [1.0, float("nan")], [[1.0, 2.0], [3.0, 4.0]]])
def test_what_is_no_number_is_an_error(values: list[object]) -> None:
    with pytest.raises(DataError, match=r"not (one finite number per sample|numbers)"):
        TASK.measure([1.0, 2.0], scored(values))


def test_several_numbers_of_a_model_are_an_error() -> None:
    with pytest.raises(DataError, match="needs one number"):
        TASK.answer({"y": np.zeros(3)}, {})
