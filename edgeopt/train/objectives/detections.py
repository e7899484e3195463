"""Detectors: scores and boxes of every row, learned where the teacher sees objects.

With the teacher's score w = objectness^a · max_c class_c^b of a row (a, b: of its decoding) and KL of Bernoulli distributions:

    L = [ Σ_rows KL(o_t ‖ o_s) + Σ_rows w Σ_c KL(c_t ‖ c_s) + Σ_rows w Σ_j (b_s − b_t)_j² / σ_j² ] / max(1, Σ_rows w)

per image. The thousands of empty rows count by their objectness alone, and that hardly where both models see nothing; boxes of
empty rows, which no decoding ever reads, do not count. Dividing by the number of objects is what detectors train with (YOLOX,
https://arxiv.org/abs/2107.08430; Chen et al. 2017, "Learning Efficient Object Detection Models with Knowledge Distillation",
section 3, for the soft labels). σ_j is the spread of the j-th number of a box in the teacher, with the same weights. Without an
objectness the classes say where objects are, so they count in all rows (as a softmax where the classes exclude each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.tasks.decoding import Activation, Boxes
from edgeopt.train.objectives.reduction import Reduction, reduced


@dataclass(frozen=True)
class Rows:
    """A detector's outputs, float32: boxes [N, rows, 4], objectness [N, rows, 1] or None, classes [N, rows, classes]."""

    boxes: Tensor
    objectness: Tensor | None
    classes: Tensor


def rows_of(outputs: Mapping[str, Tensor], form: Boxes) -> Rows:
    """Return the rows in a detector's outputs, values as they are.

    Raises:
        ModelError: an output that the decoding names is missing.
    """
    if form.boxes is not None and form.scores is not None:
        return Rows(_table(outputs, form.boxes, form), None, _table(outputs, form.scores, form))
    table = _table(outputs, form.output or next(iter(outputs)), form)
    if not form.objectness:
        return Rows(table[..., :4], None, table[..., 4:])
    first = form.order == "objectness-box-classes"
    boxes, objectness = (table[..., 1:5], table[..., :1]) if first else (table[..., :4], table[..., 4:5])
    return Rows(boxes, objectness, table[..., 5:])


def teacher_scores(rows: Rows, form: Boxes) -> Tensor:
    """Return the score of each row [N, rows], 0 to 1."""
    classes = _probabilities(rows.classes, form.activation)
    if form.background is not None:
        classes = classes.index_fill(-1, torch.tensor([form.background % classes.shape[-1]], device=classes.device), 0.0)
    best = classes.amax(dim=-1)
    if rows.objectness is None:
        return best
    powers = form.powers
    return _probabilities(rows.objectness, form.objectness_activation)[..., 0] ** powers[0] * best ** powers[1]


def box_variances(teacher: Rows, form: Boxes) -> Tensor:
    """Return what the squared error of each number of a box is divided by, float32 [4]: its variance, weighted by scores.

    It is at least 1 % of the variance over all rows: a few objects may be alike.
    """
    weights = teacher_scores(teacher, form)[..., None]
    total = weights.sum().clamp_min(1e-12)
    mean = (teacher.boxes * weights).sum(dim=(0, 1)) / total
    variances = ((teacher.boxes - mean).square() * weights).sum(dim=(0, 1)) / total
    return torch.maximum(variances, 0.01 * teacher.boxes.var(dim=(0, 1), correction=0)).clamp_min(1e-12)


def detections(
    student: Rows, teacher: Rows, form: Boxes, *, variances: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return the loss over images.

    Args:
        student: rows of the student.
        teacher: rows of the teacher, as many.
        form: how both write them.
        variances: of `box_variances`; None: errors of boxes as they are.
        reduction: mean or sum over images.
    """
    weights = teacher_scores(teacher, form)
    errors = (student.boxes - teacher.boxes).square()
    boxes = (errors if variances is None else errors / variances).sum(dim=-1)
    classes = _divergence(student.classes, teacher.classes, form.activation)
    if student.objectness is None or teacher.objectness is None:
        loss = classes + weights * boxes
    else:
        objectness = _divergence(student.objectness, teacher.objectness, form.objectness_activation)
        loss = objectness + weights * (classes + boxes)
    return reduced(loss.sum(dim=1) / weights.sum(dim=1).clamp_min(1.0), None, reduction)


def _table(outputs: Mapping[str, Tensor], name: str, form: Boxes) -> Tensor:
    """Return an output as [N, rows, columns], float32."""
    if name not in outputs:
        raise ModelError(f"the detector has no output '{name}'; it has: {', '.join(outputs)}")
    values = outputs[name].float()
    return values.flatten(2).transpose(1, 2) if form.transposed else values.reshape(len(values), -1, values.shape[-1])


def _probabilities(values: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "sigmoid":
            return values.sigmoid()
        case "softmax":
            return values.softmax(dim=-1)
        case _:
            return values.clamp(0.0, 1.0)


def _divergence(student: Tensor, teacher: Tensor, activation: Activation) -> Tensor:
    """Return KL(teacher ‖ student) per row [N, rows], summed over classes."""
    if activation == "softmax":
        p, q = teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)
        return (p.exp() * (p - q)).sum(dim=-1)
    wanted = _probabilities(teacher, activation)
    if activation == "sigmoid":
        crossed, own = (F.binary_cross_entropy_with_logits(values, wanted, reduction="none") for values in (student, teacher))
    else:
        given = _probabilities(student, activation)
        crossed, own = (F.binary_cross_entropy(values, wanted, reduction="none") for values in (given, wanted))
    return (crossed - own).sum(dim=-1)
