"""The objective of distillation: a weighted sum of the parts that `DistillLoss` asks for.

    part        compares                                     divided by the number of
    hard        the student's outputs with the labels        what the task counts
    soft        outputs with the teacher's outputs           samples or tokens
    hidden      hidden states of matching layers             tokens
    relations   queries, keys, values of one layer each      tokens
    attention   attention maps of matching layers            tokens
    features    feature maps of named modules                samples
    similarity  embeddings of all pairs in a batch           samples
    sequence    what the teacher wrote                       tokens written
    on_policy   both models on what the student wrote        tokens written

One pass of the student gives all of them; the teacher's come from the same view of the same samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from edgeopt.errors import DataError, ModelError
from edgeopt.models.call import named_outputs
from edgeopt.tasks.task import SoftForm, SoftLabels
from edgeopt.train.config import DistillLoss
from edgeopt.train.module_pairs import Inner
from edgeopt.train.numbers import classes_last, named, number_difference, unlike
from edgeopt.train.objective import TrainBatch
from edgeopt.train.objectives.cross_model import cross_model
from edgeopt.train.objectives.decoupled import decoupled
from edgeopt.train.objectives.embeddings import embedding_values, pairwise_similarities
from edgeopt.train.objectives.sigmoid import sigmoid_labels
from edgeopt.train.objectives.soft_labels import soft_labels
from edgeopt.train.objectives.tokens import Divergence, same_vocabulary, token_divergence
from edgeopt.train.objectives.top_classes import top_classes, top_divergence
from edgeopt.train.teachers import Forward, Said, Teacher, run
from edgeopt.train.written_text import PARTS, WrittenText


class HardLoss(Protocol):
    """The loss on hard labels; `edgeopt.train.task_loss.TaskLoss` is one."""

    def count(self, batch: TrainBatch) -> float:
        """Return what `total` is to be divided by."""
        ...

    def total(self, outputs: Mapping[str, Tensor], batch: TrainBatch) -> Tensor:
        """Return the loss, summed."""
        ...

    def classes(self, batch: TrainBatch) -> Tensor | None:
        """Return the class of each sample, int64 [N]; None where labels are not that."""
        ...


@dataclass(frozen=True)
class Supervision:
    """What a student learns from.

    Attributes:
        teacher: gives soft labels and inner results.
        hard: the loss on hard labels; None: there are none.
        forward: how the student is called.
        soft: the outputs that are soft labels.
        inner: pairs of inner results, for hidden states, relations, attention and feature maps; None: outputs alone.
        text: what the models write, for language models; None: nothing is written.
        variances: of outputs that are numbers, by name; see `edgeopt.train.numbers`.
    """

    teacher: Teacher
    hard: HardLoss | None = None
    forward: Forward = named_outputs
    soft: Sequence[SoftLabels] = (SoftLabels(),)
    inner: Inner | None = None
    text: WrittenText | None = None
    variances: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Distillation:
    """The objective; see the docstring of this module.

    Raises:
        DataError: hard labels are needed and there are none.
        ModelError: there is nothing to learn from the teacher's outputs.
    """

    supervision: Supervision
    options: DistillLoss
    weights: Mapping[str, float] = field(init=False)
    learned: nn.Module | None = field(init=False)

    def __post_init__(self) -> None:
        options, supervision = self.options, self.supervision
        if supervision.hard is None and options.soft_weight < 1:
            raise DataError(
                "the training split has no labels; set distill.loss.soft_weight to 1 to learn from soft labels alone"
            )
        if supervision.hard is None and options.soft == "decoupled":
            raise DataError("decoupled distillation needs hard labels, and the training split has none; choose loss.soft = kl")
        if not supervision.soft and options.soft_weight > 0:
            raise ModelError("no output is known to be a soft label for this task; set distill.loss.soft_weight to 0")
        inner = supervision.inner.weights if supervision.inner else {}
        text = supervision.text.weights if supervision.text else {}
        weights = {
            "hard": 1 - options.soft_weight,
            "soft": options.soft_weight,
            "similarity": options.similarity_weight,
            **inner,
            **text,
        }
        object.__setattr__(self, "weights", {name: weight for name, weight in weights.items() if weight > 0})
        object.__setattr__(self, "learned", supervision.inner.projections if supervision.inner else None)

    def counts(self, batch: TrainBatch) -> Mapping[str, float]:
        """Return by part the number of elements of this share."""
        found: dict[str, float] = {}
        for name in self.weights:
            if name == "hard":
                found[name] = self.supervision.hard.count(batch) if self.supervision.hard else 0.0
            elif name == "soft":
                found[name] = _elements(self.supervision.soft[0], batch)
            elif name == "similarity":
                found[name] = float(len(batch))
            elif name in PARTS and self.supervision.text is not None:
                found[name] = self.supervision.text.count(batch)
            elif self.supervision.inner is not None:
                found[name] = self.supervision.inner.count(name, batch)
        return found

    def sums(self, model: nn.Module, batch: TrainBatch) -> Mapping[str, Tensor]:
        """Return by part the sum of the loss over its elements."""
        supervision, inner = self.supervision, self.supervision.inner
        ours = run(model, supervision.forward, batch.inputs, inner.student_modules if inner else ())
        theirs = supervision.teacher.said(batch) if self.weights.keys() - {"hard", *PARTS} else Said({})
        found: dict[str, Tensor] = {}
        if "hard" in self.weights and supervision.hard is not None:
            found["hard"] = supervision.hard.total(ours.outputs, batch)
        if "soft" in self.weights:
            found["soft"] = torch.stack([self._soft(target, ours, theirs, batch) for target in supervision.soft]).sum()
        if "similarity" in self.weights:
            name = supervision.soft[0].output
            vectors = (said.outputs[name].float() for said in (ours, theirs))
            found["similarity"] = pairwise_similarities(*vectors, reduction="sum")
        if inner is not None:
            found |= inner.sums(ours.recorded, theirs.recorded, batch)
        if supervision.text is not None:
            found |= supervision.text.sums(model, batch)
        return found

    def _soft(self, target: SoftLabels, ours: Said, theirs: Said, batch: TrainBatch) -> Tensor:
        if target.form in {SoftForm.VALUE, SoftForm.BOXES}:
            known = self.supervision.variances
            return number_difference(target, ours.outputs, theirs.outputs, variances=known, inputs=batch.inputs)
        student, teacher = _pair(target, ours, theirs)
        mask = None if target.mask is None else batch.inputs.get(target.mask)
        if target.form == SoftForm.SIGMOID:
            return sigmoid_labels(student, teacher, temperature=self.options.temperature, mask=mask, reduction="sum")
        if target.form == SoftForm.VECTOR:
            return embedding_values(student, teacher, reduction="sum")
        places = 1 if target.mask is not None else student[0, ..., 0].numel()  # (a sample without tokens counts once)
        return self._softmax(student, teacher, mask, batch) / places

    def _softmax(self, student: Tensor, teacher: Tensor, mask: Tensor | None, batch: TrainBatch) -> Tensor:
        options, hard = self.options, self.supervision.hard
        temperature = options.temperature
        if options.top_classes is not None:
            kept = top_classes(teacher, options.top_classes, temperature=temperature)
            return top_divergence(student, kept, temperature=temperature, mask=mask, reduction="sum")
        match options.soft:
            case "kl":
                return soft_labels(student, teacher, temperature=temperature, mask=mask, reduction="sum")
            case "decoupled":
                target = hard.classes(batch) if hard is not None else None
                if target is None or student.ndim != 2:
                    raise ModelError("decoupled distillation needs one class per sample; choose loss.soft = kl for this task")
                weights = options.target_weight, options.others_weight
                return decoupled(student, teacher, target, temperature=temperature, weights=weights, reduction="sum")
            case "cross-model":
                pair = (student, teacher) if mask is None else (student[mask.bool()], teacher[mask.bool()])
                return cross_model(*pair, None, temperature=temperature, reduction="sum")
            case kind:
                form = Divergence(kind, options.mix, temperature)
                return token_divergence(student, teacher, form, mask=mask, reduction="sum")


def _pair(target: SoftLabels, ours: Said, theirs: Said) -> tuple[Tensor, Tensor]:
    """Return the student's and the teacher's output in float32, classes last.

    Raises:
        ModelError: one lacks the output, or their shapes differ.
    """
    student, teacher = (
        classes_last(target, named(target, said.outputs, whose).float())
        for said, whose in ((ours, "student"), (theirs, "teacher"))
    )
    if student.shape == teacher.shape:
        return student, teacher
    if student.ndim == teacher.ndim >= 3 and student.shape[:-1] == teacher.shape[:-1]:
        return same_vocabulary(student, teacher)
    raise ModelError(unlike(target, student, teacher))


def _elements(target: SoftLabels, batch: TrainBatch) -> float:
    """Return the number of tokens, or of samples where there are none or numbers are compared."""
    if target.mask is None or target.form == SoftForm.VALUE:
        return float(len(batch))
    mask = batch.inputs.get(target.mask)
    return float(mask.sum()) if mask is not None else float(next(iter(batch.inputs.values())).shape[:2].numel())
