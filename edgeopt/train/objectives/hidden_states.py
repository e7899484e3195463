"""Hidden states: the student's layers imitate the matching layers of the teacher, projected where widths differ.

Jiao et al. (2020), "TinyBERT", https://arxiv.org/abs/1909.10351, equation 8: L = Σ_layers MSE(H^S W, H^T); W [student width,
teacher width] is learned along with the student and thrown away. Where the student keeps the teacher's width, W is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.train.objectives.reduction import Reduction, reduced


def hidden_states(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    mask: Tensor | None = None,
    projection: nn.Module | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the squared error between pairs of states, averaged over width and pairs, over tokens that are not padding.

    Args:
        student: states [N, sequence, width] (or [N, width]).
        teacher: as many states, of their own width.
        mask: [N, sequence], 0 where padding is.
        projection: maps the student's width to the teacher's; None: they are equal.
        reduction: mean or sum over tokens.

    Raises:
        ModelError: shapes do not fit.
    """
    errors = []
    for ours, theirs in zip(student, teacher, strict=True):
        mapped = ours if projection is None else projection(ours)
        if mapped.shape != theirs.shape:
            raise ModelError(
                f"hidden states: the student's are {list(mapped.shape)}, the teacher's {list(theirs.shape)}"
                f"{': a projection is needed' if projection is None else '; the projection does not fit'}"
            )
        errors.append((mapped - theirs).square().mean(dim=-1))
    return reduced(torch.stack(errors).mean(dim=0), mask, reduction)


def projection_between(student: int, teacher: int) -> nn.Linear | None:
    """Return a projection from the student's width to the teacher's; None if they are equal."""
    return None if student == teacher else nn.Linear(student, teacher, bias=False)
