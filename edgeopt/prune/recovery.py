"""Recovery after pruning: train against the teacher. The one place that knows how `edgeopt.train` is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.samples import Samples
from edgeopt.models.call import to_tensors
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.losses import divergence, has_logits, is_language_model, main_output, next_token_loss, number_subject
from edgeopt.tasks.task import SoftForm
from edgeopt.train.config import AdapterOptions, TrainOptions
from edgeopt.train.epoch import Epoch
from edgeopt.train.loop import Session, fit
from edgeopt.train.teach import Lesson, teach

_RATE, _TRANSFORMER_RATE = 1e-3, 1e-4
"""Of transformers, and of detectors, which forget at more (docs/pruning.md)."""
_WITHOUT_END = 1000.0
"""Epochs of a training that its time ends."""


def recover(  # noqa: PLR0917
    model: nn.Module, teacher: nn.Module, samples: Samples, options: PruneOptions, session: Session, seconds: float | None
) -> tuple[Epoch, ...]:
    """Train `model` in place against `teacher` for at most `seconds` (None: by the options); return its epochs."""
    if options.recovery in ("fit", "none"):
        return ()
    with torch.no_grad():
        output = main_output(teacher.eval(), to_tensors(samples.collate([0])))
    subject = None if has_logits(teacher, output) else number_subject(teacher, samples)
    detector = subject is not None and any(target.form == SoftForm.BOXES for target in subject.soft)
    train = training(options, transformer=hasattr(model, "config") or detector, seconds=seconds)
    labelled = subject is None and samples.labels is not None
    loss = options.loss if labelled else options.loss.model_copy(update={"soft_weight": 1.0})
    if subject is not None or (output.ndim == 2 and output.shape[1] > 1):
        return teach(model, teacher, samples, lesson=Lesson(loss, train, subject=subject), session=session).history
    teacher.requires_grad_(False)
    return fit(model, samples, _with_teacher(teacher, options), options=train, session=session).history


def training(options: PruneOptions, *, transformer: bool, seconds: float | None) -> TrainOptions:
    """Return the training's options with what pruning adds: a smaller learning rate, low-rank updates, a time limit.

    Args:
        options: of the whole pruning; a training of one of its rounds has its part of the epochs and of the time.
        transformer: whether the model forgets at a larger learning rate.
        seconds: time limit of this training; None: the options have one, or there is none.
    """
    changes: dict[str, Any] = {"epochs": options.train.epochs / options.rounds}
    if options.train.max_seconds is not None:
        changes["max_seconds"] = options.train.max_seconds / options.rounds
    given = options.train.model_fields_set
    if options.train.learning_rate is None:
        changes["learning_rate"] = _TRANSFORMER_RATE if transformer else _RATE
    if options.recovery == "lora" and "adapter" not in given:
        changes["adapter"] = AdapterOptions()
    if seconds is not None and "max_seconds" not in given:
        changes["max_seconds"] = seconds
        if "epochs" not in given:
            changes["epochs"] = _WITHOUT_END
    return options.train.model_copy(update=changes)


def _with_teacher(teacher: nn.Module, options: PruneOptions) -> Any:
    """Return a loss: divergence from the teacher's logits, run on the same batch, and the next token's for language models."""

    def loss(model: nn.Module, inputs: Mapping[str, Tensor], _: Sequence[int]) -> Tensor:
        ours = main_output(model, inputs)
        with torch.no_grad():
            theirs = main_output(teacher.to(ours.device), inputs)
        weight = options.loss.soft_weight
        value = weight * divergence(ours, theirs, mask=inputs.get("attention_mask"))
        if is_language_model(model) and weight < 1:
            value = value + (1 - weight) * next_token_loss(ours, inputs)
        return value if is_language_model(model) else F.relu(value)

    return loss
