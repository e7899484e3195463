"""The largest probabilities and the rest as one: exact where all are kept, a lower bound otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.train.objectives.soft_labels import soft_labels
from edgeopt.train.objectives.top_classes import top_classes, top_divergence


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


_STUDENT, _TEACHER = np.random.default_rng(0).standard_normal((2, 5, 8)) * 2


def test_all_classes_give_the_whole_divergence() -> None:
    student, teacher = torch.tensor(_STUDENT), torch.tensor(_TEACHER)
    got = top_divergence(student, top_classes(teacher, 8, temperature=2.0), temperature=2.0).item()
    assert got == pytest.approx(soft_labels(student, teacher, temperature=2.0).item(), rel=1e-6)


def test_the_rest_is_one_class() -> None:
    p, q = softmax(_TEACHER), softmax(_STUDENT)
    total = 0.0
    for row in range(5):
        top = np.argsort(-p[row])[:3]
        rest_p, rest_q = 1 - p[row, top].sum(), 1 - q[row, top].sum()
        total += (p[row, top] * np.log(p[row, top] / q[row, top])).sum() + rest_p * np.log(rest_p / rest_q)
    student, teacher = torch.tensor(_STUDENT), torch.tensor(_TEACHER)
    got = top_divergence(student, top_classes(teacher, 3), reduction="sum").item()
    assert got == pytest.approx(total, rel=1e-9)
    assert got < soft_labels(student, teacher, temperature=1.0, reduction="sum").item()


def test_a_student_that_is_right_learns_nothing_from_truncation() -> None:
    """Without the rest's mass, the gradient of an exact student would push it to be too sure."""
    student = torch.tensor(_TEACHER, requires_grad=True)
    top_divergence(student, top_classes(torch.tensor(_TEACHER), 3)).backward()
    assert student.grad is not None
    assert student.grad.abs().max().item() < 1e-12
