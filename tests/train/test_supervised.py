"""The loss of classifiers: what counts, and mixtures of two samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError
from edgeopt.train.objective import TrainBatch
from edgeopt.train.supervised import ClassLoss, need_classes


def batch(**changes: object) -> TrainBatch:
    return TrainBatch({"x": torch.zeros(3, 1)}, (0, 2, 5), **changes)  # type: ignore[arg-type]


def test_unlabelled_samples_and_views_do_not_count() -> None:
    loss = ClassLoss(torch.tensor([1, 0, 2]))
    logits = torch.randn(3, 4)
    seen = batch(partners=(0, 2, 5), labelled=torch.tensor([1.0, 1.0, 1.0]))
    assert loss.count(seen) == 2.0  # sample 5 has no label
    expected = F.cross_entropy(logits[:2], torch.tensor([1, 2]), reduction="sum")
    assert loss.total({"logits": logits}, seen).item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.count(batch(labelled=torch.tensor([0.0, 1.0, 1.0]))) == 1.0


def test_a_mixture_counts_for_both_classes() -> None:
    loss = ClassLoss(torch.tensor([1, 0, 2, 3, 0, 1]))
    logits = torch.randn(3, 4)
    seen = batch(partners=(1, 2, 3), shares=torch.tensor([0.7, 1.0, 0.6]))
    own = F.cross_entropy(logits, torch.tensor([1, 2, 1]), reduction="none")
    other = F.cross_entropy(logits, torch.tensor([0, 2, 3]), reduction="none")
    shares = torch.tensor([0.7, 1.0, 0.6])
    expected = (shares * own + (1 - shares) * other).sum()
    assert loss.total({"logits": logits}, seen).item() == pytest.approx(expected.item(), rel=1e-5)


def test_missing_labels_are_asked_for() -> None:
    with pytest.raises(DataError, match="has no labels"):
        need_classes(from_arrays({"x": np.zeros((2, 1), np.float32)}))
