"""Train a student on what a teacher says: build the objective, keep the teacher's outputs, run the training loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.data.augment.config import AugmentOptions
from edgeopt.data.augment.views import Views, make_views
from edgeopt.data.joined import joined
from edgeopt.data.labels import check_labels
from edgeopt.data.outputs import collect
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.models.call import named_outputs, predict
from edgeopt.tasks.task import SoftLabels
from edgeopt.train.callbacks import Callback
from edgeopt.train.checkpoint import weights_hash
from edgeopt.train.config import DistillLoss, TrainOptions
from edgeopt.train.defaults import settled
from edgeopt.train.distillation import Distillation, HardLoss, Supervision
from edgeopt.train.launched import rank
from edgeopt.train.loop import Session, TrainResult, fit
from edgeopt.train.module_pairs import Inner, inner_of
from edgeopt.train.numbers import variances_of
from edgeopt.train.supervised import ClassLoss
from edgeopt.train.teacher_cache import CachedTeacher, CacheLimits
from edgeopt.train.teachers import Forward, OnnxTeacher, Teacher, TorchTeacher
from edgeopt.train.watch import Watch
from edgeopt.train.written_text import WrittenText

_BATCH = 32


@dataclass(frozen=True)
class Subject:
    """What a task says of a lesson; see `edgeopt.train.task_loss`.

    Attributes:
        forward: how models are called.
        soft: the outputs that are soft labels.
        hard: gives the loss on the hard labels of samples; None if they have none.
    """

    forward: Forward = named_outputs
    soft: Sequence[SoftLabels] = (SoftLabels(),)
    hard: Callable[[Samples], HardLoss | None] | None = None


@dataclass(frozen=True)
class Lesson:
    """What a student is trained with.

    Attributes:
        loss: temperature and weights.
        train: the training loop's options.
        layers: for each student layer the matching layer of the teacher, for the hidden-state loss.
        subject: what the task says; None: a classifier's logits and classes.
        unlabelled: further samples without labels.
        tokenizer: folder with tokenizer.json, for views of text.
        onnx: an ONNX file that stands in for the teacher's module where outputs alone are needed.
        basis: [teacher's width, student's width], with which the projection of hidden states begins; None: at random.
    """

    loss: DistillLoss
    train: TrainOptions
    layers: Sequence[int] | None = None
    subject: Subject | None = None
    unlabelled: Samples | None = None
    tokenizer: Path | None = None
    onnx: Path | None = None
    basis: Tensor | None = None


_NOTHING = Watch()


def teach(
    student: nn.Module,
    teacher: nn.Module,
    samples: Samples,
    *,
    lesson: Lesson,
    session: Session,
    watch: Watch = _NOTHING,
) -> TrainResult:
    """Train `student` in place on the frozen `teacher`, and on the samples' hard labels.

    Args:
        student: trained.
        teacher: put into evaluation mode, its parameters frozen.
        samples: the training split.
        lesson: losses and training options.
        session: the seed, and where to resume from.
        watch: evaluation and callbacks.
    """
    teacher.eval().requires_grad_(False)
    lesson = replace(lesson, train=settled(lesson.train, student, teacher=True))
    subject = lesson.subject or _classifier(teacher, samples)
    hard = subject.hard(samples) if subject.hard is not None and lesson.loss.soft_weight < 1 else None
    whole = samples if lesson.unlabelled is None else joined([samples, lesson.unlabelled])
    views = watch.views or make_views(whole, _augment(lesson.train), seed=session.seed, tokenizer=lesson.tokenizer)
    inner = inner_of(student, teacher, lesson.loss, lesson.layers, samples.collate([0]))
    if inner is not None and lesson.basis is not None:
        inner.begin_projection(lesson.basis)
    asked = _teacher(teacher, subject, inner, lesson)
    cached = _cached(asked, teacher, views, lesson, session, inner)
    text = WrittenText(teacher, subject.forward, lesson.loss)
    variances = variances_of(subject.soft, teacher, subject.forward, samples)
    known = Supervision(cached or asked, hard, subject.forward, subject.soft, inner, text if text.weights else None, variances)
    objective = Distillation(known, lesson.loss)
    callbacks = (*watch.callbacks, *([_Flush(cached)] if cached else []))
    found = replace(watch, callbacks=callbacks, views=views)
    return fit(student, whole, objective, options=lesson.train, session=session, watch=found)


def _augment(options: TrainOptions) -> AugmentOptions | None:
    return None if isinstance(options.augment, str) else options.augment


def _classifier(teacher: nn.Module, samples: Samples) -> Subject:
    """Return the subject of classifiers: labels must be classes of the teacher."""
    if samples.labels is not None:
        check_labels(samples.labels, predict(teacher, samples.collate([0])).shape[1], where="the training split")
    return Subject(hard=_class_loss)


def _class_loss(samples: Samples) -> HardLoss | None:
    return None if samples.labels is None else ClassLoss(torch.from_numpy(samples.labels))


def _teacher(teacher: nn.Module, subject: Subject, inner: Inner | None, lesson: Lesson) -> Teacher:
    if lesson.onnx is None:
        return TorchTeacher(teacher, subject.forward, inner.teacher_modules if inner else ())
    if inner is not None or lesson.loss.sequence_weight or lesson.loss.on_policy_weight:
        raise DataError(
            "an ONNX teacher has outputs alone; leave out hidden, relation, attention, feature, sequence and on-policy losses"
        )
    return OnnxTeacher(lesson.onnx, names=[name for target in subject.soft for name in target.outputs])


def _cached(  # noqa: PLR0917
    asked: Teacher, teacher: nn.Module, views: Views, lesson: Lesson, session: Session, inner: Inner | None
) -> CachedTeacher | None:
    """Return the teacher with its outputs kept in the session's folder; None where no view comes twice, or without a folder."""
    alone = lesson.loss.soft_weight == 0 and lesson.loss.similarity_weight == 0 and inner is None
    if alone or session.checkpoint is None or lesson.train.teacher_cache_bytes == 0 or lesson.train.epochs <= views.count:
        return None
    identity: dict[str, Any] = {"teacher": weights_hash(teacher), "views": views.digest, "onnx": str(lesson.onnx)}
    identity["modules"] = inner.teacher_modules if inner else []
    key = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()
    folder = session.checkpoint / ("teacher" if not rank() else f"teacher-{rank()}")
    limits = CacheLimits(max_bytes=lesson.train.teacher_cache_bytes)
    progress.note(f"the teacher's outputs on {views.count} views per sample are kept in {folder}")
    return CachedTeacher(asked, folder, key=key, size=(views.count, len(views.samples)), limits=limits)


@dataclass(frozen=True)
class _Flush(Callback):
    """Writes the cache's index with each checkpoint."""

    cache: CachedTeacher = field(repr=False)

    def on_save(self, checkpoint: Path) -> None:  # noqa: ARG002
        """Write the index."""
        self.cache.flush()


def teacher_logits(teacher: nn.Module, samples: Samples) -> Tensor:
    """Return the teacher's logits of all samples, float32 [samples, classes]; computed only once."""
    outputs = collect(lambda batch: {"logits": predict(teacher, batch)}, samples, batch_size=_BATCH, name="the teacher")
    return torch.from_numpy(outputs["logits"])
