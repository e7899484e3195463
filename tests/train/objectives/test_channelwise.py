"""Channel-wise distillation against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.train.objectives.channelwise import channel_projection, channelwise


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_each_channel_is_a_distribution_over_places() -> None:
    student, teacher = np.random.default_rng(0).standard_normal((2, 2, 3, 4, 5))
    p, q = (softmax(values.reshape(2, 3, 20) / 4) for values in (teacher, student))
    expected = 16 * (p * np.log(p / q)).sum(axis=-1).mean(axis=1).sum()
    got = channelwise([torch.tensor(student)], [torch.tensor(teacher)], reduction="sum").item()
    assert got == pytest.approx(expected, rel=1e-10)


def test_a_projection_maps_channels() -> None:
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    with pytest.raises(ModelError, match="3 channels, the teacher's 5: a projection is needed"):
        channelwise([student], [teacher])
    projection = channel_projection(3, 5)
    loss = channelwise([student], [teacher], projections=[projection])
    loss.backward()
    assert projection is not None
    assert projection.weight.grad is not None
