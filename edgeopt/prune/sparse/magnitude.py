"""Magnitude of single weights: Han et al. (2015), https://arxiv.org/abs/1506.02626. Scores |W_ij|, compared within a row."""

from __future__ import annotations

from torch import Tensor

from edgeopt.prune.sparse.pattern import Pattern


def sparse(rows: Tensor, _: Tensor | None, pattern: Pattern) -> Tensor:
    """Return `rows` [outputs, inputs] with zeros for the smallest weights of each row."""
    return rows * pattern.mask(rows.abs())
