"""Decoupled distillation against a plain reference, and its relation to plain soft labels (equation 4 of the paper)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.train.objectives.decoupled import decoupled
from edgeopt.train.objectives.soft_labels import soft_labels


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def parts(student: np.ndarray, teacher: np.ndarray, target: np.ndarray, temperature: float) -> list[np.ndarray]:
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    own, others, rest = [], [], []
    for row, t in enumerate(target):
        b, c = np.array([p[row, t], 1 - p[row, t]]), np.array([q[row, t], 1 - q[row, t]])
        own.append((b * np.log(b / c)).sum())
        left = [index for index in range(p.shape[1]) if index != t]
        hat_p, hat_q = p[row, left] / p[row, left].sum(), q[row, left] / q[row, left].sum()
        others.append((hat_p * np.log(hat_p / hat_q)).sum())
        rest.append(1 - p[row, t])
    return [np.array(own), np.array(others), np.array(rest)]


def test_it_weighs_the_own_class_and_the_others_apart() -> None:
    student, teacher = np.random.default_rng(0).standard_normal((2, 6, 5)) * 2
    target = np.array([0, 1, 2, 3, 4, 0])
    own, others, rest = parts(student, teacher, target, 3.0)
    tensors = torch.tensor(student), torch.tensor(teacher), torch.tensor(target)
    got = decoupled(*tensors, temperature=3.0, weights=(0.5, 8.0), reduction="sum").item()
    assert got == pytest.approx(9 * (0.5 * own + 8 * others).sum(), rel=1e-9)
    plain = soft_labels(*tensors[:2], temperature=3.0, reduction="sum").item()
    assert plain == pytest.approx(9 * (own + rest * others).sum(), rel=1e-9)


def test_a_sure_teacher_still_teaches_the_other_classes() -> None:
    teacher = torch.tensor([[30.0, 2.0, -1.0, 0.0]], dtype=torch.float64)
    student = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    decoupled(student, teacher, torch.tensor([0]), temperature=1.0).backward()
    assert student.grad is not None
    assert student.grad[0, 1].item() < -0.5  # plain soft labels give 1e-12 there
