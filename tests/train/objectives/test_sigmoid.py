"""Soft labels of independent classes against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.train.objectives.sigmoid import sigmoid_labels


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_each_logit_is_a_decision_of_its_own(temperature: float) -> None:
    student, teacher = np.random.default_rng(0).standard_normal((2, 6, 5)) * 2
    p, q = (1 / (1 + np.exp(-values / temperature)) for values in (teacher, student))
    expected = temperature**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum()
    got = sigmoid_labels(torch.tensor(student), torch.tensor(teacher), temperature=temperature, reduction="sum").item()
    assert got == pytest.approx(expected, rel=1e-10)


def test_equal_logits_cost_nothing() -> None:
    values = torch.randn(3, 4)
    assert sigmoid_labels(values, values).item() == pytest.approx(0.0, abs=1e-6)
