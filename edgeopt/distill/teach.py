"""Teach a student: soft labels once, then the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.distill.config import DistillLoss
from edgeopt.distill.loss import distillation_loss
from edgeopt.models.call import predict
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import TrainResult, fit

_TEACHER_BATCH = 64


def teach(
    student: nn.Module,
    teacher: nn.Module,
    samples: Samples,
    *,
    loss: DistillLoss,
    train: TrainOptions,
    seed: int,
    layers: Sequence[int] | None = None,
    checkpoint: Path | None = None,
) -> TrainResult:
    """Train `student` in place on the soft labels of the frozen `teacher` and the samples' hard labels.

    Args:
        student: trained.
        teacher: put into evaluation mode, its parameters frozen.
        samples: the training split.
        loss: temperature and weights.
        train: the training loop's options.
        seed: of order and dropout.
        layers: the teacher's layer that each student layer stands for, where hidden states are compared.
        checkpoint: folder to resume from.
    """
    teacher.eval().requires_grad_(False)
    soft_labels = teacher_logits(teacher, samples)
    value = distillation_loss(teacher, soft_labels, samples, options=loss, layers=layers)
    return fit(student, samples, value, options=train, seed=seed, checkpoint=checkpoint)


def teacher_logits(teacher: nn.Module, samples: Samples) -> Tensor:
    """Return the teacher's logits of all samples, float32 [samples, classes]; it never changes, so it is asked but once."""
    batches = samples.batches(_TEACHER_BATCH)
    logits = []
    with progress.task("soft labels", total=len(samples)) as advance:
        for batch in batches:
            logits.append(predict(teacher, batch))
            advance(len(logits[-1]))
    return torch.from_numpy(np.concatenate(logits))
