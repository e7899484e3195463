"""Students learn from their teacher: a floor for the metric, the teacher untouched, unlabelled samples, the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.augment.config import AudioViews, AugmentOptions
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.train import teach as module
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.loop import Session
from edgeopt.train.teach import Lesson, teach


class Rings(nn.Module):
    """Inside or outside of a circle."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        distance = 4 * (input.square().sum(dim=1, keepdim=True) - 1.2)
        return torch.cat([distance, -distance], dim=1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


def points(count: int, seed: int, *, labelled: bool = True) -> Samples:
    values = np.random.default_rng(seed).standard_normal((count, 2)).astype(np.float32)
    return from_arrays({"input": values}, (np.square(values).sum(axis=1) < 1.2).astype(np.int64) if labelled else None)


def agreement(student: nn.Module) -> float:
    inputs = torch.from_numpy(points(500, 99).collate(range(500))["input"])
    with torch.no_grad():
        return float((student(inputs).argmax(1) == Rings()(inputs).argmax(1)).float().mean())


_TRAIN = TrainOptions(epochs=30.0, batch_size=20, learning_rate=0.02)


def test_unlabelled_samples_teach_what_few_labels_do_not() -> None:
    few, many = points(20, 1), points(300, 2, labelled=False)
    scores = []
    for unlabelled in (None, many):
        student = network()
        lesson = Lesson(DistillLoss(temperature=2.0), _TRAIN, unlabelled=unlabelled)
        teach(student, Rings(), few, lesson=lesson, session=Session(0))
        scores.append(agreement(student))
    assert scores[1] > 0.93
    assert scores[1] > scores[0] + 0.02


def test_the_teacher_is_not_changed() -> None:
    teacher = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    lesson = Lesson(DistillLoss(), _TRAIN.model_copy(update={"epochs": 1.0}))
    teach(network(), teacher, points(40, 1), lesson=lesson, session=Session(0))
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_labels_are_needed_or_the_soft_labels_alone() -> None:
    unlabelled = points(40, 1, labelled=False)
    with pytest.raises(DataError, match=r"set distill\.loss\.soft_weight to 1"):
        teach(network(), Rings(), unlabelled, lesson=Lesson(DistillLoss(), _TRAIN), session=Session(0))
    student = network()
    teach(
        student,
        Rings(),
        points(300, 1, labelled=False),
        lesson=Lesson(DistillLoss(soft_weight=1.0), _TRAIN),
        session=Session(0),
    )
    assert agreement(student) > 0.93


def test_the_cache_gives_the_same_student_and_asks_once_per_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [0]

    class Counting(Rings):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            asked[0] += len(input)
            return super().forward(input)

    samples = points(40, 1)
    augment = AugmentOptions(views=2, audio=AudioViews(shift=0.0, noise=0.3))
    options = _TRAIN.model_copy(update={"epochs": 6.0, "augment": augment})
    students = []
    for folder, limit in ((tmp_path / "with", 2**20), (tmp_path / "without", 0)):
        student, asked[0] = network(), 0
        lesson = Lesson(DistillLoss(), options.model_copy(update={"teacher_cache_bytes": limit}))
        teach(student, Counting(), samples, lesson=lesson, session=Session(0, folder))
        students.append((student, asked[0]))
    (cached, once), (plain, often) = students
    assert often - once == 4 * 40  # 2 views of 6 epochs
    assert (tmp_path / "with" / "teacher").is_dir()
    assert not (tmp_path / "without" / "teacher").exists()
    for ours, theirs in zip(cached.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert hasattr(module, "CachedTeacher")
