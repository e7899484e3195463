"""Outputs that are no logits: how a student's numbers differ from its teacher's, by what the task knows about them.

    form      compared by                                              objective
    boxes     scores and, where the teacher sees objects, boxes        `objectives.detections`
    value     squared error, each channel by its spread                `objectives.channel_values`

Distillation and the recovery of a pruned model minimise it, and pruning judges its choices by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from edgeopt.data.samples import Samples
from edgeopt.errors import ModelError
from edgeopt.models.call import to_tensors
from edgeopt.tasks.task import SoftForm, SoftLabels
from edgeopt.train.objectives.channel_values import channel_values, channel_variances
from edgeopt.train.objectives.detections import box_variances, detections, rows_of
from edgeopt.train.teachers import Forward

_OBSERVED = 32


@torch.no_grad()
def variances_of(targets: Sequence[SoftLabels], teacher: nn.Module, forward: Forward, samples: Samples) -> dict[str, Tensor]:
    """Return by output what squared errors of its numbers are divided by, from the teacher on some samples.

    They are always of the same samples, so that a training that resumes has the same.
    """
    numbers = [target for target in targets if target.form in {SoftForm.VALUE, SoftForm.BOXES}]
    if not numbers:
        return {}
    device = next((parameter.device for parameter in teacher.parameters()), torch.device("cpu"))
    outputs = forward(teacher, to_tensors(samples.collate(range(min(len(samples), _OBSERVED))), device))
    found = {}
    for target in numbers:
        if target.boxes is not None:
            found[target.output] = box_variances(rows_of(outputs, target.boxes), target.boxes)
        elif target.output in outputs and outputs[target.output].ndim >= 3:
            found[target.output] = channel_variances(classes_last(target, outputs[target.output]))
    return found


def number_difference(
    target: SoftLabels,
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    *,
    variances: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
) -> Tensor:
    """Return how far the student's numbers are from the teacher's, summed over samples.

    Args:
        target: the output, and what it is.
        ours: the student's outputs by name.
        theirs: the teacher's.
        variances: of `variances_of`.
        inputs: of both models; the target's mask is one of them.
    """
    known = variances.get(target.output)
    if target.boxes is None:
        student, teacher = (classes_last(target, named(target, outputs)).float() for outputs in (ours, theirs))
        _check_same(target, student, teacher)
        mask = None if target.mask is None else inputs.get(target.mask)
        return channel_values(student, teacher, known, mask=mask, reduction="sum")
    made, wanted = rows_of(ours, target.boxes), rows_of(theirs, target.boxes)
    _check_same(target, made.classes, wanted.classes)
    return detections(made, wanted, target.boxes, variances=known, reduction="sum")


def named(target: SoftLabels, outputs: Mapping[str, Tensor], whose: str = "model") -> Tensor:
    """Return the output that a target is about.

    Raises:
        ModelError: there is none of its name.
    """
    if target.output not in outputs:
        raise ModelError(f"the {whose} has no output '{target.output}'; it has: {', '.join(outputs)}")
    return outputs[target.output]


def classes_last(target: SoftLabels, values: Tensor) -> Tensor:
    """Return an output with its classes, or channels, on the last axis."""
    return values.movedim(1, -1) if target.transposed else values


def _check_same(target: SoftLabels, student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ModelError(unlike(target, student, teacher))


def unlike(target: SoftLabels, student: Tensor, teacher: Tensor) -> str:
    """Return the sentence that says that an output has different shapes."""
    return (
        f"output '{target.output}': the student's has shape {list(student.shape)}, the teacher's {list(teacher.shape)}; both "
        "must have the same classes (or width): give the student as many, or a map of labels"
    )
