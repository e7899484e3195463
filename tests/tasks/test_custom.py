"""Tasks out of a user's functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError, RecipeError
from edgeopt.tasks.custom import Custom
from edgeopt.tasks.metric import Metric


def close(answers: object, labels: object) -> float:
    return float((np.abs(np.asarray(answers) - np.asarray(labels)) < 0.5).mean())


def test_metric_loss_and_decoding_are_functions() -> None:
    samples = replace(from_arrays({"x": np.zeros((3, 1))}), annotations=[1.0, 2.0, 3.0])
    task = Custom(
        score=close,
        metric=Metric("close"),
        loss_function=lambda outputs, wanted: (outputs["logits"] - wanted).abs().mean(),
        decode=lambda outputs: float(outputs["y"][0] * 2),
    )
    answers = [task.answer({"y": np.array([value])}, {}) for value in (0.5, 1.0, 5.0)]
    assert task.measure(answers, samples).value == pytest.approx(2 / 3)
    labels = task.labels(samples, [0, 2], {})
    found = task.loss({"logits": torch.zeros(2)}, {"labels": torch.from_numpy(labels["labels"])})
    assert float(found.mean()) == pytest.approx(2.0)
    assert task.same(1.0, 1.0 + 1e-9)
    assert not task.same(1.0, 1.1)


def test_what_is_missing_is_an_error() -> None:
    task = Custom(score=close)
    with pytest.raises(RecipeError, match="has no loss on labels"):
        task.loss({}, {"labels": torch.zeros(1)})
    with pytest.raises(DataError, match="have no labels"):
        task.measure([1.0], from_arrays({"x": np.zeros((1, 1))}))
