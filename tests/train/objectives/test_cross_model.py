"""CMKD against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.train.objectives.cross_model import cross_model


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_the_temperature_is_on_the_teachers_side_alone() -> None:
    student, teacher = np.random.default_rng(0).standard_normal((2, 6, 4))
    target = np.array([0, 1, 2, 3, 0, 1])
    p, q = softmax(teacher / 2.5), softmax(student)
    divergence = (p * np.log(p / q)).sum(axis=1)
    hard = -np.log(q[np.arange(6), target])
    expected = (0.3 * hard + 0.7 * divergence).mean()
    tensors = torch.tensor(student), torch.tensor(teacher)
    got = cross_model(*tensors, torch.tensor(target), temperature=2.5, hard_weight=0.3).item()
    assert got == pytest.approx(expected, rel=1e-10)
    assert cross_model(*tensors, None, temperature=2.5).item() == pytest.approx(divergence.mean(), rel=1e-10)
