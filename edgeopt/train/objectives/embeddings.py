"""Embeddings: the student's vectors equal the teacher's, and lie to each other as the teacher's do.

Values: Reimers and Gurevych (2020), https://arxiv.org/abs/2004.09813, equation 1: MSE(student, teacher), on unit vectors so
that it equals 2 (1 − cosine) / width. Similarities: Tung and Mori (2019), https://arxiv.org/abs/1907.09682, equation 4, with
cosines:

    L = mean over pairs i ≠ j of (cos(s_i, s_j) − cos(t_i, t_j))²

which needs no equal widths.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.train.objectives.reduction import Reduction, reduced


def embedding_values(
    student: Tensor, teacher: Tensor, *, projection: nn.Module | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return the squared distance of unit vectors, over samples.

    Args:
        student: vectors [N, width].
        teacher: vectors [N, teacher's width].
        projection: maps the student's width to the teacher's; None: they are equal.
        reduction: mean or sum over samples.

    Raises:
        ModelError: widths differ and there is no projection.
    """
    mapped = student if projection is None else projection(student)
    if mapped.shape != teacher.shape:
        raise ModelError(
            f"embeddings: the student's have width {mapped.shape[-1]}, the teacher's {teacher.shape[-1]}: "
            "a projection is needed"
        )
    return reduced((F.normalize(mapped, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(dim=-1), None, reduction)


def pairwise_similarities(student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Return the squared error between the cosines of all pairs of a batch, per sample the mean over its partners.

    Args:
        student: vectors [N, width].
        teacher: vectors [N, teacher's width].
        reduction: mean or sum over samples.
    """
    if len(student) < 2:
        return student.sum() * 0.0
    ours, theirs = F.normalize(student, dim=-1), F.normalize(teacher, dim=-1)
    errors = (ours @ ours.T - theirs @ theirs.T).square()
    off_diagonal = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    return reduced((errors * off_diagonal).sum(dim=1) / (len(student) - 1), None, reduction)
