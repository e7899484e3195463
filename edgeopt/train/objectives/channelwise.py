"""Channel-wise distillation, for dense predictions: each channel's map is a distribution over places.

Shu et al. (2021), https://arxiv.org/abs/2011.13256, equations 3 and 4. With
φ(F)_{c,i} = exp(F_{c,i} / T) / Σ_j exp(F_{c,j} / T):

    L = T² / C · Σ_c Σ_i φ(F^T)_{c,i} · log(φ(F^T)_{c,i} / φ(F^S)_{c,i})

Where the numbers of channels differ, a learned 1×1 convolution maps the student's channels to the teacher's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.train.objectives.attention_transfer import same_size
from edgeopt.train.objectives.reduction import Reduction, reduced


def channelwise(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    *,
    temperature: float = 4.0,
    projections: Sequence[nn.Module | None] = (),
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the loss over samples, averaged over channels, summed over pairs of maps.

    Args:
        student: maps [N, channels, height, width].
        teacher: as many maps.
        temperature: T.
        projections: for each pair what maps the student's channels to the teacher's; None: they are equal.
        reduction: mean or sum over samples.

    Raises:
        ModelError: numbers of channels differ and there is no projection.
    """
    losses = []
    maps = projections or [None] * len(student)
    for ours, theirs, projection in zip(student, teacher, maps, strict=True):
        mapped, fitted = same_size(ours if projection is None else projection(ours), theirs)
        if mapped.shape != fitted.shape:
            raise ModelError(
                f"channel-wise distillation: the student's map has {mapped.shape[1]} channels, the teacher's "
                f"{fitted.shape[1]}: "
                "a projection is needed"
            )
        log_q = F.log_softmax(mapped.flatten(2) / temperature, dim=-1)
        log_p = F.log_softmax(fitted.flatten(2) / temperature, dim=-1)
        losses.append((log_p.exp() * (log_p - log_q)).sum(dim=-1).mean(dim=1) * temperature**2)
    return reduced(torch.stack(losses).sum(dim=0), None, reduction)


def channel_projection(student: int, teacher: int) -> nn.Conv2d | None:
    """Return a 1×1 convolution from the student's channels to the teacher's; None if they are equal."""
    return None if student == teacher else nn.Conv2d(student, teacher, kernel_size=1, bias=False)
