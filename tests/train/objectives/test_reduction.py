"""Sums and means of what counts."""

from __future__ import annotations

import pytest
import torch

from edgeopt.train.objectives.reduction import reduced


def test_masks_weigh_elements() -> None:
    values, mask = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.5, 0.0])
    assert reduced(values, mask, "sum").item() == 2.0
    assert reduced(values, mask, "mean").item() == pytest.approx(2.0 / 1.5)
    assert reduced(values, None, "mean").item() == values.mean().item()
    assert reduced(values, torch.zeros(3), "mean").item() == 0.0
