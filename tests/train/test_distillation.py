"""The objective of distillation: its parts, their weights and their counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.errors import DataError, ModelError
from edgeopt.models.call import named_outputs
from edgeopt.tasks.task import SoftLabels
from edgeopt.train.config import DistillLoss
from edgeopt.train.distillation import Distillation, Supervision
from edgeopt.train.objective import TrainBatch
from edgeopt.train.objectives.soft_labels import soft_labels
from edgeopt.train.supervised import ClassLoss
from edgeopt.train.teachers import Said, TorchTeacher


class Constant(nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(x)]


class Fixed:
    """A teacher that says the same of everything."""

    def __init__(self, **outputs: torch.Tensor) -> None:
        self.outputs = outputs

    def said(self, batch: TrainBatch) -> Said:
        return Said(self.outputs)


_LOGITS, _SOFT = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_BATCH = TrainBatch({"x": torch.zeros(2, 1)}, (0, 1))


def value(options: DistillLoss, logits: torch.Tensor = _LOGITS) -> float:
    objective = Distillation(Supervision(Fixed(logits=_SOFT), ClassLoss(torch.tensor([0, 2]))), options)
    sums, counts = objective.sums(Constant(logits), _BATCH), objective.counts(_BATCH)
    return sum(float(objective.weights[name] * sums[name] / counts[name]) for name in objective.weights)


def test_the_weights_mix_soft_and_hard_labels() -> None:
    mixed, softly, hardly = (value(DistillLoss(temperature=3.0, soft_weight=weight)) for weight in (0.25, 1.0, 0.0))
    assert softly == pytest.approx(soft_labels(_LOGITS, _SOFT, temperature=3.0).item())
    assert hardly == pytest.approx(nn.functional.cross_entropy(_LOGITS, torch.tensor([0, 2])).item())
    assert mixed == pytest.approx(0.25 * softly + 0.75 * hardly)


@pytest.mark.parametrize("kind", ["kl", "decoupled", "cross-model", "reverse", "js", "skew", "skew-reverse"])
def test_a_student_that_says_what_its_teacher_says_has_no_soft_loss(kind: str) -> None:
    options = DistillLoss.read({"soft": kind, "soft_weight": 1.0, "temperature": 1.0}, where="test")
    assert value(options, _SOFT) == pytest.approx(0.0, abs=1e-6)
    assert value(options, _LOGITS) > 0.1


def test_hard_labels_that_are_missing_are_asked_for() -> None:
    with pytest.raises(DataError, match="soft_weight to 1"):
        Distillation(Supervision(Fixed(logits=_SOFT)), DistillLoss())
    with pytest.raises(DataError, match="decoupled distillation needs hard labels"):
        Distillation(Supervision(Fixed(logits=_SOFT)), DistillLoss(soft="decoupled", soft_weight=1.0))


def test_outputs_of_other_shapes_are_named() -> None:
    objective = Distillation(Supervision(Fixed(logits=torch.zeros(2, 4))), DistillLoss(soft_weight=1.0))
    with pytest.raises(ModelError, match=r"the student's has shape \[2, 3\], the teacher's \[2, 4\]"):
        objective.sums(Constant(_LOGITS), _BATCH)


@pytest.mark.parametrize("form", ["sigmoid", "value", "vector"])
def test_other_forms_of_soft_labels(form: str) -> None:
    target = SoftLabels(form=form)
    objective = Distillation(
        Supervision(Fixed(logits=_SOFT), soft=(target,)), DistillLoss(soft_weight=1.0, similarity_weight=0.5)
    )
    same = objective.sums(Constant(_SOFT), _BATCH)
    other = objective.sums(Constant(_LOGITS), _BATCH)
    assert float(same["soft"]) == pytest.approx(0.0, abs=1e-6)
    assert float(other["soft"]) > 0.1
    assert float(same["similarity"]) == pytest.approx(0.0, abs=1e-6)


def test_gradients_reach_the_student_alone() -> None:
    torch.manual_seed(0)
    teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    objective = Distillation(Supervision(TorchTeacher(teacher, named_outputs)), DistillLoss(soft_weight=1.0))
    batch = TrainBatch({"input": torch.randn(5, 4)}, tuple(range(5)))
    objective.sums(student, batch)["soft"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in student.parameters())


def test_tokens_are_counted_by_their_mask() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    soft = (SoftLabels(mask="attention_mask"),)
    objective = Distillation(Supervision(Fixed(logits=torch.zeros(2, 3, 5)), soft=soft), DistillLoss(soft_weight=1.0))
    batch = TrainBatch({"x": torch.zeros(2, 3), "attention_mask": mask}, (0, 1))
    assert objective.counts(batch) == {"soft": 3.0}
    assert np.isfinite(float(objective.sums(Tokens(), batch)["soft"]))


class Tokens(nn.Module):
    def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return torch.ones(2, 3, 5)


def test_tokens_without_a_mask_all_count() -> None:
    soft = (SoftLabels(mask="attention_mask"),)
    objective = Distillation(Supervision(Fixed(logits=torch.zeros(2, 3, 5)), soft=soft), DistillLoss(soft_weight=1.0))
    batch = TrainBatch({"x": torch.zeros(2, 3, dtype=torch.long)}, (0, 1))
    assert objective.counts(batch) == {"soft": 6.0}
    assert float(objective.sums(Constant(torch.ones(2, 3, 5)), batch)["soft"]) == pytest.approx(0.0, abs=1e-5)


def test_padding_does_not_count_across_models() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    logits, teacher = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 3, 5)
    soft = (SoftLabels(mask="mask"),)
    options = DistillLoss(soft_weight=1.0, soft="cross-model")
    supervision = Supervision(Fixed(logits=teacher), soft=soft, forward=lambda model, inputs: {"logits": logits})
    found = Distillation(supervision, options).sums(Constant(logits), TrainBatch({"x": logits, "mask": mask}, (0, 1)))["soft"]
    each = -torch.log_softmax(logits, -1).mean(-1) - np.log(5)
    assert float(found) == pytest.approx(float((each * mask).sum()), rel=1e-5)


def test_a_map_of_any_size_weighs_as_one_sample() -> None:
    soft = (SoftLabels(transposed=True),)
    for size in (1, 4):
        student, teacher = (rows[:, :, None, None].repeat(1, 1, size, size) for rows in (_LOGITS, _SOFT))
        objective = Distillation(Supervision(Fixed(logits=teacher), soft=soft), DistillLoss(soft_weight=1.0, temperature=2.0))
        found = float(objective.sums(Constant(student), _BATCH)["soft"])
        assert found == pytest.approx(float(soft_labels(_LOGITS, _SOFT, temperature=2.0, reduction="sum")), rel=1e-5)
