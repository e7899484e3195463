"""Train a student: compute soft labels once, then run the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeopt.data.outputs import collect
from edgeopt.data.samples import Samples
from edgeopt.models.call import predict
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.distillation import distillation_loss
from edgeopt.train.loop import Session, TrainResult, fit

_BATCH = 32


@dataclass(frozen=True)
class Lesson:
    """What a student is trained with.

    Attributes:
        loss: temperature and weights.
        train: the training loop's options.
        layers: for each student layer the matching layer of the teacher, for the hidden-state loss.
    """

    loss: DistillLoss
    train: TrainOptions
    layers: Sequence[int] | None = None


def teach(
    student: nn.Module,
    teacher: nn.Module,
    samples: Samples,
    *,
    lesson: Lesson,
    session: Session,
) -> TrainResult:
    """Train `student` in place on the soft labels of the frozen `teacher` and the samples' hard labels.

    Args:
        student: trained.
        teacher: put into evaluation mode, its parameters frozen.
        samples: the training split.
        lesson: losses and training options.
        session: the seed, and where to resume from.
    """
    teacher.eval().requires_grad_(False)
    soft_labels = teacher_logits(teacher, samples)
    value = distillation_loss(teacher, soft_labels, samples, options=lesson.loss, layers=lesson.layers)
    return fit(student, samples, value, options=lesson.train, session=session)


def teacher_logits(teacher: nn.Module, samples: Samples) -> Tensor:
    """Return the teacher's logits of all samples, float32 [samples, classes]; computed only once."""
    outputs = collect(lambda batch: {"logits": predict(teacher, batch)}, samples, batch_size=_BATCH, name="the teacher")
    return torch.from_numpy(outputs["logits"])
