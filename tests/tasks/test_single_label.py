"""Single-label classification: labels, loss, answers, accuracy, agreement."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.single_label import ClassAnswer, SingleLabel

LOGITS = np.eye(4, dtype=np.float32)
TASK = SingleLabel()


def samples(labels: list[int] | None) -> Samples:
    return from_arrays({"x": np.zeros((4, 1), np.float32)}, None if labels is None else np.array(labels))


def answers(logits: np.ndarray = LOGITS) -> list[ClassAnswer]:
    return [TASK.answer({"y": row}, {}) for row in logits]


def test_the_share_of_right_answers() -> None:
    assert TASK.measure(answers(), samples([0, 1, 2, 0])).value == 0.75
    found = TASK.measure(answers(), samples([3, 1, 0, 3])).right
    assert found is not None
    assert found.tolist() == [False, True, False, True]


@pytest.mark.parametrize("labels", [[100, 101, 102, 115], [1, 2, 3, 4], [-1, 0, 1, 2]])
def test_labels_that_no_class_has_are_an_error(labels: list[int]) -> None:
    with pytest.raises(DataError, match=f"from {labels[0]} to {labels[-1]} are impossible for a model of 4 classes"):
        TASK.measure(answers(), samples(labels))


@pytest.mark.parametrize("shape", [(4, 2), ()])
def test_what_is_no_logits_of_a_sample_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"has shape .* for one sample; \[classes\] is needed"):
        TASK.answer({"y": np.zeros(shape)}, {})


def test_samples_without_labels_are_an_error_that_says_what_labels_are() -> None:
    with pytest.raises(DataError, match=r"the training split has no labels, and .* needs one class per sample"):
        TASK.need_labels(samples(None), where="the training split")
    TASK.need_labels(samples([0, 1, 2, 3]), where="the training split")


def test_the_loss_is_summed_so_that_micro_batches_add_up() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 4), TASK.labels(samples([0, 3, 1, 1]), [0, 1, 2, 3], {})
    wanted = torch.from_numpy(labels["labels"])
    whole = TASK.loss({"logits": logits}, {"labels": wanted})
    parts = [TASK.loss({"logits": logits[rows]}, {"labels": wanted[rows]}) for rows in (slice(0, 1), slice(1, 4))]
    assert float(whole.mean()) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, wanted)))
    total, count = (sum(float(getattr(part, name)) for part in parts) for name in ("total", "count"))
    assert total / count == pytest.approx(float(whole.mean()))


def test_models_agree_where_their_classes_are_the_same() -> None:
    ours, theirs = answers(LOGITS), answers(LOGITS[[0, 1, 3, 3]])
    assert TASK.agreement(ours, theirs) == 0.75
    assert TASK.changed(ours, theirs) == 1


def test_classes_without_samples_are_a_warning() -> None:
    assert "2 of 4 classes (0, 2)" in TASK.warnings(answers(), samples([1, 1, 3, 3]))[0]
    assert TASK.warnings(answers(), samples([0, 1, 2, 3])) == ()
