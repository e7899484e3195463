"""Self-attention relations: how tokens relate to each other in queries, keys and values, whatever the width.

Wang et al. (2021), "MiniLMv2", https://arxiv.org/abs/2012.15828, equations 4 to 6. Queries of all heads are concatenated and
split again into R relation heads of width d_r, so teacher and student may differ in heads and width. For a in {Q, K, V}:

    A_a = softmax(a aᵀ / √d_r)            [N, R, sequence, sequence]
    L   = Σ_a KL(A_a^teacher ‖ A_a^student), averaged over relation heads and tokens

One layer of the teacher (the last, or one below the top of a deep one) teaches the student's last layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.train.objectives.reduction import Reduction, reduced


def relations(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, heads: int, mask: Tensor, reduction: Reduction = "mean"
) -> Tensor:
    """Return the divergence between the relations of teacher and student, over tokens that are not padding.

    Args:
        student: queries, keys and values, [N, sequence, width] each.
        teacher: the same of the teacher, of its own width.
        heads: number of relation heads R; must divide both widths.
        mask: [N, sequence], 0 where padding is.
        reduction: mean or sum over tokens.

    Raises:
        ModelError: a width is not a multiple of `heads`.
    """
    divergences = []
    for ours, theirs in zip(student, teacher, strict=True):
        log_q, log_p = log_relations(ours, heads, mask), log_relations(theirs, heads, mask)
        divergence = (log_p.exp() * (log_p - log_q)).masked_fill(~mask.bool()[:, None, None, :], 0.0)
        divergences.append(divergence.sum(dim=-1).mean(dim=1))  # [N, sequence]
    return reduced(torch.stack(divergences).sum(dim=0), mask, reduction)


def log_relations(values: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Return log softmax(a aᵀ / √d_r) of `values` [N, sequence, width] as [N, heads, sequence, sequence]."""
    count, length, width = values.shape
    if width % heads:
        raise ModelError(f"relations: {heads} relation heads do not divide the width {width}; choose a divisor of both widths")
    split = values.reshape(count, length, heads, width // heads).transpose(1, 2)
    scores = split @ split.transpose(-1, -2) / (width // heads) ** 0.5
    hidden = torch.finfo(scores.dtype).min / 4
    return F.log_softmax(scores.masked_fill(~mask.bool()[:, None, None, :], hidden), dim=-1)
