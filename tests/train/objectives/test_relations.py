"""MiniLMv2's relations against a plain loop over samples, heads and tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.train.objectives.relations import relations


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def reference(student: np.ndarray, teacher: np.ndarray, heads: int, lengths: list[int]) -> float:
    total = 0.0
    for n, length in enumerate(lengths):
        for head in range(heads):
            maps = []
            for values in (teacher, student):
                size = values.shape[2] // heads
                a = values[n, :length, head * size : (head + 1) * size]
                maps.append(softmax(a @ a.T / np.sqrt(size)))
            p, q = maps
            total += (p * np.log(p / q)).sum() / heads
    return total


def test_widths_may_differ_and_padding_does_not_count() -> None:
    generator = np.random.default_rng(0)
    student = [generator.standard_normal((2, 5, 8)) for _ in range(3)]
    teacher = [generator.standard_normal((2, 5, 12)) for _ in range(3)]
    lengths = [5, 3]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    expected = sum(reference(ours, theirs, 4, lengths) for ours, theirs in zip(student, teacher, strict=True))
    tensors = ([torch.tensor(values) for values in one] for one in (student, teacher))
    got = relations(*tensors, heads=4, mask=mask, reduction="sum").item()
    assert got == pytest.approx(expected, rel=1e-9)


def test_heads_that_do_not_divide_the_width_are_named() -> None:
    values = [torch.zeros(1, 2, 8)] * 3
    with pytest.raises(ModelError, match="5 relation heads do not divide the width 8"):
        relations(values, values, heads=5, mask=torch.ones(1, 2))
