"""SparseGPT: zeros are chosen block by block, and the weights that follow make up for them.

Frantar & Alistarh (2023), https://arxiv.org/abs/2301.00774, algorithm 1. With H = X Xᵀ + λI and the upper Cholesky factor U of
its inverse, H⁻¹ = Uᵀ U, weight j of every row is handled in turn:

    S_ij = W_ij² / U_jj²                          those with the smallest scores become zero, chosen among 128 columns of
                                                  all rows, or for each group of n:m just before it is reached
    e_i  = (W_ij − 0) / U_jj  if it becomes zero, else 0
    W_i,j+1: ← W_i,j+1: − e_i · U_j,j+1:          (equation 3)

For speed the updates to the columns after a block are made once per block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeopt.prune.sparse.pattern import Pattern

_BLOCK = 128
_DAMPING = 0.01
"""λ as a share of the mean of H's diagonal."""


def sparse(rows: Tensor, moment: Tensor | None, pattern: Pattern, *, block: int = _BLOCK) -> Tensor:
    """Return `rows` [outputs, inputs] with zeros and updated weights; `moment` is the mean of x xᵀ over the layer's inputs."""
    if moment is None:
        raise ValueError("SparseGPT needs the second moments of the layer's inputs")
    weights, upper = rows.double().clone(), _factor(moment.double())
    dead = moment.diagonal() == 0
    weights[:, dead] = 0
    inputs = weights.shape[1]
    size = max(block // pattern.group, 1) * pattern.group if pattern.group else block
    for start in range(0, inputs, size):
        stop = min(start + size, inputs)
        errors = _block(weights[:, start:stop], upper[start:stop, start:stop], pattern)
        weights[:, stop:] -= errors @ upper[start:stop, stop:]
    return weights.to(rows.dtype)


def _factor(moment: Tensor) -> Tensor:
    """Return U with Uᵀ U = H⁻¹; inputs that are always zero do not matter, so that theirs is 1."""
    hessian = moment.clone()
    diagonal = hessian.diagonal()
    diagonal[diagonal == 0] = 1.0
    diagonal += _DAMPING * float(diagonal.mean())
    upper: Tensor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    return upper


def _block(weights: Tensor, upper: Tensor, pattern: Pattern) -> Tensor:
    """Set weights of a block of columns to zero and update the others, in place; return the errors e, of the same shape."""
    scale = upper.diagonal()
    errors = torch.zeros_like(weights)
    left = torch.ones_like(weights, dtype=torch.bool)
    if not pattern.group:
        left = pattern.mask(((weights / scale) ** 2).reshape(1, -1)).reshape(weights.shape)
    for place in range(weights.shape[1]):
        if pattern.group and place % pattern.group == 0:
            group = slice(place, place + pattern.group)
            left[:, group] = pattern.mask((weights[:, group] / scale[group]) ** 2)
        column = weights[:, place]
        errors[:, place] = column * ~left[:, place] / scale[place]
        weights[:, place] = column * left[:, place]
        weights[:, place + 1 :] -= errors[:, place : place + 1] * upper[place, place + 1 :]
    return errors
