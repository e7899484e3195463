"""Outputs of several kinds: every channel counts by its spread, absent ones hardly."""

from __future__ import annotations

import pytest
import torch

from edgeopt.train.objectives.channel_values import channel_values, channel_variances


def test_without_variances_it_is_the_mean_squared_error() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 5, 3), torch.randn(4, 5, 3)
    assert channel_values(student, teacher).item() == pytest.approx(torch.nn.functional.mse_loss(student, teacher).item())
    assert channel_values(student, teacher, reduction="sum").item() == pytest.approx(
        4 * torch.nn.functional.mse_loss(student, teacher).item()
    )


def test_pixels_and_scores_count_alike_and_absent_classes_hardly() -> None:
    torch.manual_seed(0)
    spread = torch.tensor([100.0, 0.01, 0.01, 0.01, 1e-6])  # a box's edge, three classes that occur, one that does not
    teacher = torch.randn(8, 400, 5) * spread
    variances = channel_variances(teacher)
    assert variances[:2].sqrt() == pytest.approx(spread[:2], rel=0.05)
    assert variances[4].sqrt() == pytest.approx(0.01, rel=0.05)  # the median, not its own
    alone = []
    for channel in range(5):
        student = teacher.clone()
        student[..., channel] += spread[channel]  # an error as large as the spread
        alone.append(channel_values(student, teacher, variances).item())
    assert alone[:4] == pytest.approx([0.2] * 4, rel=0.1)
    assert alone[4] < 1e-6


def test_outputs_that_do_not_vary_are_no_division_by_zero() -> None:
    teacher = torch.ones(2, 3, 4)
    loss = channel_values(teacher + 1, teacher, channel_variances(teacher))
    assert torch.isfinite(loss) and loss > 0
