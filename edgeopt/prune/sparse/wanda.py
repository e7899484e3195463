"""Wanda: weights times the norm of what they multiply (Sun et al. 2023, https://arxiv.org/abs/2306.11695, equation 1).

S_ij = |W_ij| · ‖X_j‖₂        compared within each output row i; what is left keeps its value
"""

from __future__ import annotations

from torch import Tensor

from edgeopt.prune.sparse.pattern import Pattern


def sparse(rows: Tensor, moment: Tensor | None, pattern: Pattern) -> Tensor:
    """Return `rows` [outputs, inputs] with zeros; `moment` is the mean of x xᵀ over the layer's inputs."""
    if moment is None:
        raise ValueError("Wanda needs the second moments of the layer's inputs")
    return rows * pattern.mask(rows.abs() * moment.diagonal().clamp(min=0).sqrt().to(rows.dtype))
