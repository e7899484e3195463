"""Embedding losses against plain references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.train.objectives.embeddings import embedding_values, pairwise_similarities


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_values_are_compared_as_unit_vectors() -> None:
    student, teacher = np.random.default_rng(0).standard_normal((2, 6, 5))
    expected = ((unit(student) - unit(teacher)) ** 2).sum(axis=1).mean()
    assert embedding_values(torch.tensor(student), torch.tensor(teacher)).item() == pytest.approx(expected, rel=1e-10)
    assert embedding_values(torch.tensor(teacher * 3), torch.tensor(teacher)).item() == pytest.approx(0.0, abs=1e-12)


def test_all_pairs_but_those_with_themselves_count() -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.standard_normal((4, 3)), generator.standard_normal((4, 6))
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                total += (unit(student)[i] @ unit(student)[j] - unit(teacher)[i] @ unit(teacher)[j]) ** 2
    got = pairwise_similarities(torch.tensor(student), torch.tensor(teacher)).item()
    assert got == pytest.approx(total / 12, rel=1e-10)


def test_one_sample_has_no_pairs() -> None:
    assert pairwise_similarities(torch.ones(1, 3), torch.ones(1, 3)).item() == 0.0


def test_widths_that_differ_are_named() -> None:
    with pytest.raises(ModelError, match="width 3, the teacher's 4"):
        embedding_values(torch.ones(2, 3), torch.ones(2, 4))
