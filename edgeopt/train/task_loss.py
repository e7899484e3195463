"""A task as the training loop knows it: loss on hard labels, soft labels, and the score of a model that is being trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgeopt.data.labels import check_labels
from edgeopt.data.outputs import Outputs, Runnable, one_by_one, reading_order
from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.models.call import cannot_take, to_tensors
from edgeopt.models.embeddings import token_embeddings
from edgeopt.tasks.single_label import SingleLabel
from edgeopt.tasks.task import Answer, about_sample
from edgeopt.train.distillation import HardLoss
from edgeopt.train.objective import TrainBatch
from edgeopt.train.supervised import ClassLoss
from edgeopt.train.teach import Subject
from edgeopt.train.watch import Evaluator, Score

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgeopt.batches import Batch
    from edgeopt.data.samples import Samples
    from edgeopt.tasks.task import Task

_BATCH = 32
IGNORED = -100
"""The label of a position that does not count, as in torch's cross-entropy."""


@dataclass(frozen=True)
class TaskLoss:
    """The loss of any task on the labels of `samples`; further samples, and views whose labels may not hold, do not count."""

    task: Task
    samples: Samples

    def count(self, batch: TrainBatch) -> float:
        """Return the number of labels that count: positions that are not ignored, or samples."""
        rows = self._rows(batch)
        if not rows:
            return 0.0
        return _expected(self._labels(batch, rows), len(rows))

    def total(self, outputs: Mapping[str, Tensor], batch: TrainBatch) -> Tensor:
        """Return the loss of the samples whose labels hold, summed."""
        rows = self._rows(batch)
        if not rows:
            return sum((value.sum() * 0.0 for value in outputs.values()), torch.zeros(()))
        labels = self._labels(batch, rows)
        device = next(iter(outputs.values())).device
        chosen = dict(outputs)
        if len(rows) < len(batch):
            chosen = {
                name: value[rows] if value.ndim and len(value) == len(batch) else value for name, value in outputs.items()
            }
        loss = self.task.loss(chosen, {name: torch.from_numpy(np.asarray(array)).to(device) for name, array in labels.items()})
        counted = float(loss.count)
        if counted <= 0:
            return loss.total * 0.0
        return loss.total * (_expected(labels, len(rows)) / counted)  # (1 where the task counts as `count` does)

    def classes(self, batch: TrainBatch) -> None:  # noqa: ARG002
        """Return None: labels are not one class per sample."""
        return

    def _rows(self, batch: TrainBatch) -> list[int]:
        if batch.partners and batch.partners != batch.indices:
            raise RecipeError(f"mixup and cutmix mix labels, which {self.task.name} cannot; choose other views")
        holds = [True] * len(batch) if batch.labelled is None else (batch.labelled > 0).tolist()
        return [row for row, index in enumerate(batch.indices) if holds[row] and index < len(self.samples)]

    def _labels(self, batch: TrainBatch, rows: list[int]) -> Mapping[str, np.ndarray]:
        inputs = {name: value.cpu().numpy() for name, value in batch.inputs.items()}
        chosen = {name: value[rows] if value.ndim and len(value) == len(batch) else value for name, value in inputs.items()}
        return self.task.labels(self.samples, [batch.indices[row] for row in rows], chosen)


def _expected(labels: Mapping[str, np.ndarray], count: int) -> float:
    """Return the number of labels that are not ignored, where they are integers per position; else the number of samples."""
    values = labels.get("labels")
    if values is None or values.ndim < 2 or not np.issubdtype(values.dtype, np.integer):
        return float(count)
    return float((values != IGNORED).sum())


def task_loss(task: Task, samples: Samples) -> HardLoss | None:
    """Return the loss on the samples' labels; None if they have none."""
    if not task.is_labelled(samples):
        return None
    if isinstance(task, SingleLabel) and samples.labels is not None:
        return ClassLoss(torch.from_numpy(samples.labels))
    return TaskLoss(task, samples)


def subject_of(task: Task) -> Subject:
    """Return what the task says of a lesson."""
    return Subject(task.call, task.soft_labels(), lambda samples: task_loss(task, samples))


@torch.inference_mode()
def fitted(task: Task, model: nn.Module, samples: Samples) -> Task:
    """Return the task with what the outputs of `model` say of it, such as how a detector writes boxes; or as it is."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    outputs = task.call(model.eval(), to_tensors(samples.collate([0]), device))
    try:
        return task.fitted({name: value[0].float().cpu().numpy() for name, value in outputs.items() if value.ndim}, samples)
    except DataError:
        return task


def evaluator(task: Task, samples: Samples) -> Evaluator:
    """Return what scores a model on labelled `samples` by the task's metric.

    Raises:
        DataError: the samples have no labels.
    """
    task.need_labels(samples, where="the evaluation data")

    def score(model: nn.Module) -> Score:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))

        def run(batch: Batch) -> Outputs:
            with torch.inference_mode():
                outputs = task.predict(model, to_tensors(batch, device))
            return {name: value.detach().float().cpu().numpy() for name, value in outputs.items()}

        runnable = Runnable("the student", run, samples, _BATCH)
        order, padded = reading_order([runnable])
        answers: list[Answer] = [None] * len(samples)
        own = task
        for place, (index, outputs) in enumerate(zip(order, one_by_one(runnable, order, padded=padded), strict=True)):
            own = task.fitted(outputs, samples) if place == 0 else own
            answers[index] = own.answer(outputs, samples[index], about_sample(samples, index))
        value = own.measure(answers, samples).value
        return Score(task.metric.name, value, task.metric.merit(value))

    return score


def check_classes(task: Task, teacher: nn.Module, student: nn.Module | None, samples: Samples) -> None:
    """Make sure that the models take the samples, the labels are classes of the teacher, and the student has as many.

    Raises:
        DataError: a label is none of the teacher's classes.
        ModelError: a model cannot take the samples, or student and teacher have different vocabularies or numbers of classes.
    """
    one = samples.collate([0])
    for model, whose in ((teacher, "teacher" if student is not None else "model"), (student, "student")):
        if model is not None:
            _check_runs(task, model, one, whose)
    if student is not None:
        _check_vocabulary(teacher, student)
    if not isinstance(task, SingleLabel):
        return
    theirs = _classes(task, teacher, one)
    if samples.labels is not None and theirs is not None:
        check_labels(samples.labels, theirs, where="the training split")
    ours = _classes(task, student, one) if student is not None else theirs
    if ours != theirs:
        raise ModelError(f"the student has {ours} classes, the teacher {theirs}: give the student as many (or train it alone)")


def _check_runs(task: Task, model: nn.Module, batch: Batch, whose: str) -> None:
    """Make sure that a model takes a sample."""
    was = model.training
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            task.call(model.eval(), to_tensors(batch, device))
    except IndexError as error:
        if "out of range in self" in str(error):
            raise ModelError(
                f"the {whose}'s vocabulary lacks tokens of the samples: they were made with another tokenizer"
            ) from error
        raise
    except (RuntimeError, TypeError, ValueError) as error:
        raise cannot_take(error, batch, whose) from error
    finally:
        model.train(was)


def _check_vocabulary(teacher: nn.Module, student: nn.Module) -> None:
    """Make sure that a student has an embedding for each token of its teacher, where both say how many they have."""
    theirs, ours = (_vocabulary(model) for model in (teacher, student))
    if ours is not None and theirs is not None and ours < theirs:
        raise ModelError(
            f"the student's vocabulary has {ours:,} tokens, the teacher's {theirs:,}: both read the same token numbers, "
            "so give the student the teacher's vocabulary"
        )


def _vocabulary(model: nn.Module) -> int | None:
    """Return the number of a transformers model's token embeddings; None: it has none."""
    count = getattr(token_embeddings(model), "num_embeddings", None)
    return count if isinstance(count, int) else None


def _classes(task: Task, model: nn.Module, batch: Batch) -> int | None:
    was = model.training
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with torch.inference_mode():
        outputs = task.call(model, to_tensors(batch, device))
    model.train(was)
    logits = outputs.get("logits")
    return int(logits.shape[1]) if logits is not None and logits.ndim == 2 else None
