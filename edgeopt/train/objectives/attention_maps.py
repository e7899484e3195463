"""Attention maps: the student attends where the teacher attends.

Jiao et al. (2020), "TinyBERT", https://arxiv.org/abs/1909.10351, equation 7, with the divergence of MiniLM (Wang et al. 2020,
https://arxiv.org/abs/2002.10957, equation 5) in place of the squared error: L = KL(A^teacher ‖ A^student), averaged over heads
and query tokens. Where the numbers of heads differ, the maps are averaged over heads first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced

_LEAST = 1e-9


def attention_maps(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, mask: Tensor, reduction: Reduction = "mean"
) -> Tensor:
    """Return the divergence between attention maps, averaged over pairs of layers and heads, over tokens that count.

    Args:
        student: attention probabilities of layers, [N, heads, sequence, sequence] each.
        teacher: as many, of the matching layers.
        mask: [N, sequence], 0 where padding is.
        reduction: mean or sum over query tokens.
    """
    divergences = []
    for ours, theirs in zip(student, teacher, strict=True):
        q, p = (ours, theirs) if ours.shape == theirs.shape else (ours.mean(1, keepdim=True), theirs.mean(1, keepdim=True))
        terms = p * ((p + _LEAST).log() - (q + _LEAST).log())
        divergences.append(terms.sum(dim=-1).mean(dim=1))  # [N, sequence]
    return reduced(torch.stack(divergences).mean(dim=0), mask, reduction)
