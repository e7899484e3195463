"""Tasks as the loop knows them: loss and count on labels, and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgeopt.batches import Batch
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.task import LossSum, Task
from edgeopt.train.objective import TrainBatch
from edgeopt.train.supervised import ClassLoss
from edgeopt.train.task_loss import TaskLoss, check_classes, evaluator, subject_of, task_loss


@dataclass(frozen=True)
class Tags(Task):
    """One class per position; -100 does not count."""

    name: ClassVar[str] = "tags"
    metric: ClassVar[Metric] = Metric("accuracy")

    def is_labelled(self, samples: Samples) -> bool:
        return samples.annotations is not None

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Any]:
        length = inputs["x"].shape[1]
        rows = [[*samples.annotations[index], *[-100] * length][:length] for index in indices]
        return {"labels": np.array(rows)}

    def loss(self, outputs: Mapping[str, torch.Tensor], labels: Mapping[str, torch.Tensor]) -> LossSum:
        flat = outputs["logits"].flatten(0, 1), labels["labels"].flatten()
        return LossSum(F.cross_entropy(*flat, ignore_index=-100, reduction="sum"), float((flat[1] >= 0).sum()))

    def answer(self, outputs: Mapping[str, Any], sample: Batch) -> Any:
        return outputs["logits"].argmax(-1)

    def measure(self, answers: Sequence[Any], samples: Samples) -> Measured:
        raise NotImplementedError


def tagged() -> Samples:
    values = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    samples = from_arrays({"x": values})
    return Samples(4, samples.read, None, "x", annotations=[[0, 1, 1], [1], [0, 0], [1, 1, 0]])


def test_positions_that_count_are_known_before_the_model_runs() -> None:
    loss = TaskLoss(Tags(), tagged())
    batch = TrainBatch({"x": torch.zeros(3, 3, 5)}, (0, 1, 2))
    logits = torch.randn(3, 3, 2)
    assert loss.count(batch) == 6.0
    wanted = torch.tensor([[0, 1, 1], [1, -100, -100], [0, 0, -100]])
    expected = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum").item()
    assert loss.total({"logits": logits}, batch).item() == pytest.approx(expected, rel=1e-5)


def test_views_and_samples_without_labels_are_left_out() -> None:
    loss = TaskLoss(Tags(), tagged())
    batch = TrainBatch({"x": torch.zeros(3, 3, 5)}, (0, 1, 9), labelled=torch.tensor([0.0, 1.0, 1.0]))
    logits = torch.randn(3, 3, 2)
    assert loss.count(batch) == 1.0
    expected = F.cross_entropy(logits[1, :1], torch.tensor([1]), reduction="sum").item()
    assert loss.total({"logits": logits}, batch).item() == pytest.approx(expected, rel=1e-5)
    nothing = TrainBatch({"x": torch.zeros(1, 3, 5)}, (9,))
    assert loss.count(nothing) == 0.0
    assert loss.total({"logits": logits[:1]}, nothing).item() == 0.0


def test_labels_of_positions_cannot_be_mixed() -> None:
    batch = TrainBatch({"x": torch.zeros(2, 3, 5)}, (0, 1), partners=(1, 0))
    with pytest.raises(RecipeError, match="mixup and cutmix mix labels, which tags cannot"):
        TaskLoss(Tags(), tagged()).count(batch)


def test_classifiers_have_the_plain_loss() -> None:
    samples = from_arrays({"input": np.zeros((3, 2), np.float32)}, np.array([0, 1, 1]))
    assert isinstance(task_loss(SingleLabel(), samples), ClassLoss)
    assert isinstance(task_loss(Tags(), tagged()), TaskLoss)
    unlabelled = from_arrays({"input": np.zeros((3, 2), np.float32)})
    assert task_loss(SingleLabel(), unlabelled) is None
    assert subject_of(SingleLabel()).soft[0].output == "logits"


def test_an_evaluator_scores_models_by_the_tasks_metric() -> None:
    values = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    samples = from_arrays({"input": values}, (values[:, 0] > values[:, 1]).astype(np.int64))
    model = nn.Linear(2, 2, bias=False)
    model.load_state_dict({"weight": torch.tensor([[0.0, 1.0], [1.0, 0.0]])})
    score = evaluator(SingleLabel(), samples)(model)
    assert (score.metric, score.value, score.merit) == ("accuracy", 1.0, 1.0)
    with pytest.raises(DataError, match="the evaluation data has no labels"):
        evaluator(SingleLabel(), from_arrays({"input": values}))


def test_numbers_of_classes_are_compared_before_any_step() -> None:
    samples = from_arrays({"input": np.zeros((3, 2), np.float32)}, np.array([0, 1, 2]))
    with pytest.raises(ModelError, match="the student has 3 classes, the teacher 4"):
        check_classes(SingleLabel(), nn.Linear(2, 4), nn.Linear(2, 3), samples)
    with pytest.raises(DataError, match="labels from 0 to 2 are impossible for a model of 2 classes"):
        check_classes(SingleLabel(), nn.Linear(2, 2), nn.Linear(2, 2), samples)


def test_models_that_cannot_take_the_samples_are_named() -> None:
    samples = from_arrays({"input": np.zeros((4, 5), np.float32)}, np.array([0, 1, 0, 1]))
    with pytest.raises(ModelError, match=r"the student cannot take the samples \(input \[1, 5\]\): mat1 and mat2"):
        check_classes(SingleLabel(), nn.Linear(5, 2), nn.Linear(3, 2), samples)
    with pytest.raises(ModelError, match="the model cannot take the samples"):
        check_classes(SingleLabel(), nn.Linear(3, 2), None, samples)


class Words(nn.Module):
    """A classifier of tokens."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(count, 3), nn.Linear(3, 2)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(input_ids).mean(dim=1))


def test_a_student_with_a_smaller_vocabulary_is_refused() -> None:
    low = from_arrays({"input_ids": np.ones((4, 5), np.int64)}, np.array([0, 1, 0, 1]))
    with pytest.raises(ModelError, match="the student's vocabulary has 4 tokens, the teacher's 9"):
        check_classes(SingleLabel(), Words(9), Words(4), low)
    check_classes(SingleLabel(), Words(9), Words(12), low)
    high = from_arrays({"input_ids": np.full((4, 5), 9)}, np.array([0, 1, 0, 1]))
    with pytest.raises(ModelError, match="the teacher's vocabulary lacks tokens of the samples"):
        check_classes(SingleLabel(), Words(9), Words(12), high)
