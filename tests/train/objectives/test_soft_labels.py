"""Soft labels against a plain reference in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.train.objectives.soft_labels import soft_labels


def softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    exponents = np.exp((values - values.max(axis=-1, keepdims=True)) / temperature)
    return exponents / exponents.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 20.0])
def test_it_is_the_scaled_divergence(temperature: float) -> None:
    student, teacher = np.random.default_rng(0).standard_normal((2, 7, 5)) * 3
    p, q = softmax(teacher, temperature), softmax(student, temperature)
    expected = temperature**2 * np.sum(p * np.log(p / q)) / 7
    got = soft_labels(torch.tensor(student), torch.tensor(teacher), temperature=temperature).item()
    assert got == pytest.approx(expected, rel=1e-12)


def test_the_gradient_keeps_its_size_when_the_temperature_grows() -> None:
    sizes = []
    for temperature in (10.0, 100.0):
        student = torch.tensor([[1.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
        soft_labels(student, torch.tensor([[0.0, 2.0, -1.0]], dtype=torch.float64), temperature=temperature).backward()
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_masked_tokens_do_not_count_and_sums_are_means_times_counts() -> None:
    student, teacher = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    whole = soft_labels(student, teacher, mask=mask, reduction="sum")
    kept = soft_labels(student[mask.bool()], teacher[mask.bool()], reduction="sum")
    assert whole.item() == pytest.approx(kept.item(), rel=1e-12)
    assert soft_labels(student, teacher, mask=mask).item() == pytest.approx(whole.item() / 6, rel=1e-12)
