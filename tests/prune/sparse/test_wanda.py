"""Zeros by weights times inputs, beside equation 1 in plain loops."""

from __future__ import annotations

import pytest
import torch

from edgeopt.prune.sparse.pattern import read_pattern
from edgeopt.prune.sparse.wanda import sparse


def test_scores_are_those_of_equation_1() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, x = torch.randn(3, 6, generator=generator), torch.randn(50, 6, generator=generator) * torch.arange(1.0, 7)
    expected = rows.clone()
    for row in expected:
        scores = [abs(float(row[j])) * float(x[:, j].norm()) for j in range(6)]
        for j in sorted(range(6), key=lambda j: scores[j])[:2]:
            row[j] = 0
    assert torch.equal(sparse(rows, (x.T @ x / len(x)).double(), read_pattern(str(1 / 3 + 1e-6))), expected)


def test_it_needs_the_inputs() -> None:
    with pytest.raises(ValueError, match="second moments"):
        sparse(torch.ones(2, 2), None, read_pattern("0.5"))
