"""Soft labels: the student matches the teacher's class probabilities at a temperature.

Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network", https://arxiv.org/abs/1503.02531, section 2. With
p = softmax(teacher / T) and q = softmax(student / T):

    L = T² · KL(p ‖ q) = T² · Σ_c p_c (log p_c − log q_c)

Gradients of soft targets shrink as 1/T²; the factor keeps them comparable with those of hard labels for any T.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced


def soft_labels(
    student: Tensor, teacher: Tensor, *, temperature: float = 4.0, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return T² · KL(softmax(teacher / T) ‖ softmax(student / T)) over elements.

    Args:
        student: logits [..., classes].
        teacher: logits of the same shape.
        temperature: T.
        mask: [...], 0 where an element (a padded token) does not count.
        reduction: mean or sum over the elements.
    """
    log_q = F.log_softmax(student / temperature, dim=-1)
    log_p = F.log_softmax(teacher / temperature, dim=-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=-1)
    return reduced(divergence, mask, reduction) * temperature**2
