"""Parameters, bytes and multiply-accumulates, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.models.size import counted, macs, measure, parameters, weight_bytes


class Net(nn.Module):
    """A convolution, a normalisation and a linear layer that uses one weight twice."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1, bias=False)  # 18 weights
        self.norm = nn.BatchNorm2d(2)  # 4 parameters, buffers of 2 + 2 floats and an int64
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)  # 6 parameters each, 4 of them shared
        self.second.weight = self.first.weight

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pooled = self.norm(self.convolution(image)).mean((2, 3))
        found: torch.Tensor = self.second(self.first(pooled))
        return found


IMAGE = {"image": np.ones((1, 1, 4, 5), np.float32)}


def test_shared_parameters_count_once() -> None:
    assert parameters(Net()) == 18 + 4 + 6 + 2


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.float16, 2)])
def test_bytes_are_those_of_parameters_and_buffers_in_their_types(dtype: torch.dtype, size: int) -> None:
    assert weight_bytes(Net().to(dtype)) == (30 + 4) * size + 8


def test_convolutions_and_products_are_counted_once_per_sample_of_the_batch() -> None:
    one = 2 * 9 * 20 + 4 + 4  # out channels × kernel × pixels, and two 2×2 products
    assert macs(Net(), IMAGE) == one
    assert macs(Net(), {"image": np.ones((3, 1, 4, 5), np.float32)}) == 3 * one
    size = measure(Net(), IMAGE)
    assert (size.parameters, size.size_bytes, size.macs) == (30, 34 * 4 + 8, one)


def test_counting_runs_in_evaluation_mode_and_changes_nothing() -> None:
    model = Net().train()
    outputs, found = counted(model, IMAGE)
    assert found > 0 and not model.training and not outputs.requires_grad
    assert int(model.norm.num_batches_tracked) == 0  # type: ignore[arg-type]
    assert torch.equal(outputs, model(torch.ones(1, 1, 4, 5)))
