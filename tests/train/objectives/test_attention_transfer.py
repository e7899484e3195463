"""Attention transfer against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.train.objectives.attention_transfer import attention_transfer


def unit_map(features: np.ndarray) -> np.ndarray:
    flat = (features**2).sum(axis=1).reshape(len(features), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_maps_of_any_number_of_channels_are_compared() -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.standard_normal((2, 3, 4, 4)), generator.standard_normal((2, 7, 4, 4))
    expected = ((unit_map(student) - unit_map(teacher)) ** 2).sum(axis=1).mean()
    assert attention_transfer([torch.tensor(student)], [torch.tensor(teacher)]).item() == pytest.approx(expected, rel=1e-10)


def test_a_larger_map_is_averaged_to_the_smaller_one() -> None:
    teacher = torch.randn(2, 5, 8, 8)
    small = torch.nn.functional.avg_pool2d(teacher, 2)
    assert attention_transfer([small], [teacher]).item() == pytest.approx(0.0, abs=1e-10)


def test_what_is_no_map_is_named() -> None:
    with pytest.raises(ModelError, match=r"the student gives \[2, 5\], and a feature map is \[samples, channels"):
        attention_transfer([torch.zeros(2, 5)], [torch.zeros(2, 5, 4, 4)])
