"""Detectors: objects count, empty rows by their objectness alone, whatever way boxes and scores are written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.tasks.decoding import Boxes
from edgeopt.train.objectives.detections import Rows, box_variances, detections, rows_of, teacher_scores

YOLOX = Boxes(output="rows", objectness=True, encoding="grid", strides=[8])
FASTEST = Boxes(
    output="map",
    transposed=True,
    objectness=True,
    order="objectness-box-classes",
    encoding="tanh-grid",
    strides=[16],
    powers=(0.6, 0.4),
)


def seen(*, seed: int = 0) -> Rows:
    """Return one image of four rows with three classes; an object is in the first row alone."""
    torch.manual_seed(seed)
    objectness = torch.tensor([0.9, 1e-4, 1e-4, 1e-4]).reshape(1, 4, 1)
    return Rows(torch.randn(1, 4, 4), objectness, torch.rand(1, 4, 3) * 0.8 + 0.1)


def loss(student: Rows, teacher: Rows, form: Boxes = YOLOX, **more: Any) -> float:
    return float(detections(student, teacher, form, **more))


def bernoulli(p: Tensor, q: Tensor) -> Tensor:
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


def test_it_is_the_equation_in_its_docstring() -> None:
    teacher, student = seen(), seen(seed=1)
    assert teacher.objectness is not None and student.objectness is not None
    spread = torch.tensor([1.0, 2.0, 3.0, 4.0])
    w = teacher.objectness[..., 0] * teacher.classes.amax(-1)
    rows = bernoulli(teacher.objectness, student.objectness).sum(-1)
    rows = rows + w * bernoulli(teacher.classes, student.classes).sum(-1)
    rows = rows + w * ((student.boxes - teacher.boxes).square() / spread).sum(-1)
    assert loss(student, teacher, variances=spread) == pytest.approx(float(rows.sum() / max(1.0, float(w.sum()))), rel=1e-4)
    assert loss(teacher, teacher) == pytest.approx(0.0, abs=1e-6)


def test_a_box_counts_where_the_teacher_sees_an_object() -> None:
    teacher = seen()
    moved = []
    for row in (0, 1):
        boxes = teacher.boxes.clone()
        boxes[0, row] += 1.0
        moved.append(loss(Rows(boxes, teacher.objectness, teacher.classes), teacher))
    assert moved[0] > 1000 * moved[1] > 0
    assert teacher.objectness is not None
    invented = teacher.objectness.clone()
    invented[0, 1] = 0.9  # an object where there is none
    assert loss(Rows(teacher.boxes, invented, teacher.classes), teacher) > 1.0


def test_logits_and_probabilities_are_the_same_objective() -> None:
    teacher, student = seen(), seen(seed=1)
    logits = Boxes(output="rows", objectness=True, activation="sigmoid", objectness_activation="sigmoid", encoding="xyxy")
    raw = [
        Rows(one.boxes, one.objectness.logit(), one.classes.logit()) for one in (student, teacher) if one.objectness is not None
    ]
    assert loss(*raw, logits) == pytest.approx(loss(student, teacher), rel=1e-4)


def test_classes_say_where_objects_are_if_there_is_no_objectness() -> None:
    form = Boxes(boxes="boxes", scores="scores", activation="softmax", background=-1)
    scores = torch.tensor([[[9.0, 0.0, 0.0], [0.0, 0.0, 9.0]]])  # the second row is background
    teacher = rows_of({"boxes": torch.zeros(1, 2, 4), "scores": scores}, form)
    assert teacher_scores(teacher, form)[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-3)
    confused = Rows(teacher.boxes, None, scores[:, [0, 0]])
    assert loss(confused, teacher, form) > 5


def test_rows_of_a_map_come_back_in_the_order_of_its_decoding() -> None:
    values = torch.arange(8.0).reshape(1, 8, 1, 1).expand(2, 8, 3, 3)
    rows = rows_of({"map": values}, FASTEST)
    assert rows.boxes.shape == (2, 9, 4) and rows.objectness is not None
    assert (rows.objectness[0, 0, 0], *rows.boxes[0, 0], *rows.classes[0, 0]) == tuple(range(8))
    scored = Rows(rows.boxes, torch.full((2, 9, 1), 0.5), torch.full((2, 9, 3), 0.25))
    assert float(teacher_scores(scored, FASTEST)[0, 0]) == pytest.approx(0.5**0.6 * 0.25**0.4)
    with pytest.raises(ModelError, match="the detector has no output 'map'; it has: logits"):
        rows_of({"logits": values}, FASTEST)


def test_the_spread_of_boxes_is_that_of_the_objects() -> None:
    torch.manual_seed(0)
    boxes = torch.randn(4, 500, 4)
    boxes[:, 250:] *= 100  # of empty rows, whose variance is 5,000 over all
    objectness = torch.ones(4, 500, 1)
    objectness[:, 250:] = 0
    teacher = Rows(boxes, objectness, torch.ones(4, 500, 2))
    assert box_variances(teacher, YOLOX).sqrt().tolist() == pytest.approx([50.0**0.5] * 4, rel=0.1), "at least 1 %"
    boxes[:, 250:] /= 100
    assert box_variances(teacher, YOLOX).sqrt().tolist() == pytest.approx([1.0] * 4, rel=0.1)
