"""The teacher's largest probabilities and the rest as one: soft labels of large vocabularies that fit on a disk.

A teacher's distribution over 50,000 tokens is kept as its k largest probabilities and the mass of all others. Without that mass
the truncated distribution would have to be normalised, which teaches the student to be too sure (Busbridge et al. 2025,
https://arxiv.org/abs/2502.08606, appendix G). With top the k tokens, r = 1 − Σ_{i ∈ top} p_i and the student's own
rest q_r = 1 − Σ_{i ∈ top} q_i:

    L = Σ_{i ∈ top} p_i log(p_i / q_i) + r log(r / q_r)            a lower bound of KL(p ‖ q), exact where k covers all
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced

_LEAST = 1e-9


@dataclass(frozen=True)
class TopClasses:
    """A distribution by its k largest probabilities.

    Attributes:
        classes: which, int64 [..., k].
        log_probabilities: their logarithms, [..., k], largest first.
    """

    classes: Tensor
    log_probabilities: Tensor


def top_classes(logits: Tensor, k: int, *, temperature: float = 1.0) -> TopClasses:
    """Return the k largest probabilities of softmax(logits / T), [..., classes]."""
    values, classes = F.log_softmax(logits / temperature, dim=-1).topk(min(k, logits.shape[-1]), dim=-1)
    return TopClasses(classes, values)


def top_divergence(
    student: Tensor, teacher: TopClasses, *, temperature: float = 1.0, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return the divergence over elements, times T².

    Args:
        student: logits [..., classes].
        teacher: taken at the same temperature.
        temperature: T.
        mask: [...], 0 where an element does not count.
        reduction: mean or sum over elements.
    """
    log_q = F.log_softmax(student / temperature, dim=-1).gather(-1, teacher.classes)
    log_p = teacher.log_probabilities
    p = log_p.exp()
    known = (p * (log_p - log_q)).sum(dim=-1)
    rest_p = (1 - p.sum(dim=-1)).clamp_min(0.0)
    rest_q = (1 - log_q.exp().sum(dim=-1)).clamp_min(_LEAST)
    rest = torch.where(rest_p > _LEAST, rest_p * (rest_p.clamp_min(_LEAST) / rest_q).log(), torch.zeros_like(rest_p))
    return reduced(known + rest, mask, reduction) * temperature**2
