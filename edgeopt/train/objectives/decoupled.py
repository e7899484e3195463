"""Decoupled distillation: how sure the teacher is of the target class, apart from how it ranks the others.

Zhao et al. (2022), "Decoupled Knowledge Distillation", https://arxiv.org/abs/2203.08679, equations 5 to 7. With t the sample's
class, b = (p_t, 1 − p_t), and p̂ the softmax over the classes without t:

    KL(p ‖ q) = KL(b^T ‖ b^S) + (1 − p_t^T) · KL(p̂^T ‖ p̂^S)        (plain soft labels: the second term fades when p_t → 1)
    L         = T² · (α · KL(b^T ‖ b^S) + β · KL(p̂^T ‖ p̂^S))         (decoupled: it does not)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced

_LEAST = 1e-12


def decoupled(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    temperature: float = 4.0,
    weights: tuple[float, float] = (1.0, 8.0),
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the decoupled loss over samples.

    Args:
        student: logits [N, classes].
        teacher: logits [N, classes].
        target: classes of the hard labels, int64 [N].
        temperature: T.
        weights: α of the target class and β of the other classes.
        reduction: mean or sum over the samples.
    """
    alpha, beta = weights
    is_target = F.one_hot(target, student.shape[-1]).bool()
    ours, theirs = F.softmax(student / temperature, -1), F.softmax(teacher / temperature, -1)
    own = ours[is_target].clamp(_LEAST, 1 - _LEAST)
    wanted = theirs[is_target].clamp(_LEAST, 1 - _LEAST)
    target_class = wanted * (wanted / own).log() + (1 - wanted) * ((1 - wanted) / (1 - own)).log()
    lowest = torch.finfo(student.dtype).min / 4
    log_q = F.log_softmax((student / temperature).masked_fill(is_target, lowest), -1)
    log_p = F.log_softmax((teacher / temperature).masked_fill(is_target, lowest), -1)
    others = (log_p.exp() * (log_p - log_q)).masked_fill(is_target, 0.0).sum(-1)
    return reduced(alpha * target_class + beta * others, None, reduction) * temperature**2
