"""Soft labels of classes that do not exclude each other: multi-label classification, the class scores of detectors.

Each logit is a decision of its own, so the divergence is that of two Bernoulli distributions, p = σ(teacher / T) and
q = σ(student / T), as in the binary form of Hinton et al. (2015) used for detectors by Chen et al. (2017), "Learning Efficient
Object Detection Models with Knowledge Distillation", section 3.2:

    L = T² · Σ_c [p_c log(p_c / q_c) + (1 − p_c) log((1 − p_c) / (1 − q_c))]
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced


def sigmoid_labels(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Return the loss over elements, summed over classes.

    Args:
        student: logits [..., classes].
        teacher: logits of the same shape.
        temperature: T.
        mask: [...], 0 where an element does not count.
        reduction: mean or sum over the elements.
    """
    ours, theirs = student / temperature, teacher / temperature
    p = theirs.sigmoid()
    crossed = F.binary_cross_entropy_with_logits(ours, p, reduction="none")
    own = F.binary_cross_entropy_with_logits(theirs, p, reduction="none")  # the teacher's entropy: a constant
    return reduced((crossed - own).sum(dim=-1), mask, reduction) * temperature**2
