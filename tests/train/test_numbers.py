"""Outputs that are no logits: each is compared by what it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeopt.data.samples import from_arrays
from edgeopt.errors import ModelError
from edgeopt.models.call import named_outputs
from edgeopt.tasks.decoding import Boxes
from edgeopt.tasks.task import SoftForm, SoftLabels
from edgeopt.train.numbers import number_difference, variances_of

VALUE = SoftLabels("logits", SoftForm.VALUE, mask="attention_mask")
BOXES = SoftLabels("logits", SoftForm.BOXES, boxes=Boxes(objectness=True, encoding="grid", strides=[8]))


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor([100.0, 1.0, 1.0, 1.0, 0.1, 1.0])


def test_spreads_come_from_the_teacher_and_are_those_of_objects_for_boxes() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.2, 0.9, size=(40, 50, 6)).astype(np.float32)
    values[:, 25:, 4] = 0.0  # no object
    values[:, 25:, :4] *= 5
    samples = from_arrays({"x": values})
    found = variances_of([VALUE], Scaled(), named_outputs, samples)["logits"]
    assert found.shape == (6,) and found[0] == pytest.approx(1e4 * float(found[1]), rel=0.2)
    boxes = variances_of([BOXES], Scaled(), named_outputs, samples)["logits"]
    assert boxes.sqrt().tolist() == pytest.approx([20.0, 0.2, 0.2, 0.2], rel=0.1)
    assert variances_of([SoftLabels()], Scaled(), named_outputs, samples) == {}


def test_padding_does_not_count() -> None:
    teacher = torch.randn(2, 3, 4)
    student = teacher.clone()
    student[1, 2] += 5.0
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    outputs = {"logits": student}, {"logits": teacher}
    assert float(number_difference(VALUE, *outputs, variances={}, inputs={"attention_mask": mask})) == 0.0
    whole = number_difference(VALUE, *outputs, variances={}, inputs={})
    assert float(whole) == pytest.approx(25.0 / 3)


@pytest.mark.parametrize("target", [VALUE, BOXES])
def test_outputs_of_other_shapes_are_refused(target: SoftLabels) -> None:
    ours, theirs = {"logits": torch.rand(1, 3, 7)}, {"logits": torch.rand(1, 3, 8)}
    with pytest.raises(ModelError, match="the student's has shape"):
        number_difference(target, ours, theirs, variances={}, inputs={})
