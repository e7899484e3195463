"""Hidden states against a plain reference; projections."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.train.objectives.hidden_states import hidden_states, projection_between


def test_layers_are_compared_without_padding() -> None:
    generator = np.random.default_rng(1)
    student, teacher = ([torch.tensor(generator.standard_normal((2, 3, 4))) for _ in range(2)] for _ in range(2))
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    keep = mask.numpy()[..., None]
    pairs = zip(student, teacher, strict=True)
    expected = np.mean([(((ours - theirs).numpy() ** 2) * keep).sum() / (4 * 4) for ours, theirs in pairs])
    assert hidden_states(student, teacher, mask=mask).item() == pytest.approx(expected, rel=1e-12)
    assert hidden_states(student, teacher, mask=mask, reduction="sum").item() == pytest.approx(4 * expected, rel=1e-12)


def test_a_projection_maps_narrow_states_and_is_learned() -> None:
    projection = projection_between(3, 4)
    assert projection is not None
    assert projection_between(4, 4) is None
    student, teacher = torch.randn(2, 5, 3), torch.randn(2, 5, 4)
    loss = hidden_states([student], [teacher], projection=projection)
    expected = ((student @ projection.weight.T - teacher) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert projection.weight.grad is not None
    assert projection.weight.grad.abs().sum() > 0


def test_widths_that_differ_are_named() -> None:
    with pytest.raises(ModelError, match=r"the student's are \[2, 5, 3\], the teacher's \[2, 5, 4\]: a projection is needed"):
        hidden_states([torch.zeros(2, 5, 3)], [torch.zeros(2, 5, 4)])
    with pytest.raises(ModelError, match="the projection does not fit"):
        hidden_states([torch.zeros(2, 5, 3)], [torch.zeros(2, 5, 4)], projection=torch.nn.Linear(3, 5))
