"""Multi-label classification: against scikit-learn's micro F1 and torch's own loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.multi_label import MultiLabel

TASK = MultiLabel()


def labelled(rows: list[object]) -> Samples:
    return replace(from_arrays({"x": np.zeros((len(rows), 1), np.float32)}), annotations=rows)


def test_f1_is_the_micro_average() -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    wanted = generator.integers(0, 2, (50, 7))
    logits = generator.standard_normal((50, 7)) + 0.8 * (2 * wanted - 1)
    answers = [TASK.answer({"y": row}, {}) for row in logits]
    found = TASK.measure(answers, labelled(list(wanted)))
    assert found.value == pytest.approx(f1_score(wanted, logits > 0, average="micro"))
    assert TASK.further(answers, labelled(list(wanted)))[0].value == pytest.approx(((logits > 0) == wanted).all(axis=1).mean())
    assert TASK.agreement(answers, answers) == 1.0


def test_the_loss_is_binary_cross_entropy_over_all_decisions() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    labels = TASK.labels(labelled([np.array([1, 0]), np.array([0, 1])]), [0, 1], {})
    wanted = torch.from_numpy(labels["labels"])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
    assert float(TASK.loss({"logits": logits}, {"labels": wanted}).mean()) == pytest.approx(float(expected))


def test_labels_of_other_kinds_or_counts_are_errors() -> None:
    with pytest.raises(DataError, match="sample 1: its label is not a row of zeros and ones"):
        TASK.labels(labelled([np.array([1, 0]), np.array([2, 0])]), [0, 1], {})
    with pytest.raises(DataError, match="the labels have 2 classes, the model 3"):
        TASK.measure([np.zeros(3, bool)], labelled([np.array([1, 0])]))
    with pytest.raises(DataError, match=r"needs \[classes\]"):
        TASK.answer({"y": np.zeros((2, 2))}, {})


def test_rows_of_other_lengths_are_named() -> None:
    with pytest.raises(DataError, match="sample 1: its label has 3 classes, that of sample 0 has 2"):
        MultiLabel().labels(labelled([[0, 1], [0, 1, 0]]), [0, 1], {})
    assert MultiLabel().agreement([np.ones(2, bool)], [np.ones(3, bool)]) is None
