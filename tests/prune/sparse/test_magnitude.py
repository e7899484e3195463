"""Zeros by magnitude."""

from __future__ import annotations

import torch

from edgeopt.prune.sparse.magnitude import sparse
from edgeopt.prune.sparse.pattern import read_pattern


def test_the_smallest_weights_of_each_row_go() -> None:
    rows = torch.tensor([[-3.0, 1.0, 0.5, 2.0], [0.1, -0.2, 0.3, 0.4]])
    expected = torch.tensor([[-3.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.3, 0.4]])
    assert torch.equal(sparse(rows, None, read_pattern("0.5")), expected)
