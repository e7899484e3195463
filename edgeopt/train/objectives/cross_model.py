"""Cross-model distillation: a CNN and a transformer that see the same spectrogram teach each other, in either direction.

Gong et al. (2022), "CMKD: CNN/Transformer-Based Cross-Model Knowledge Distillation for Audio Classification",
https://arxiv.org/abs/2203.06760, equation 1, with λ = ½ and the temperature on the teacher's side alone:

    L = λ · CE(softmax(student), label) + (1 − λ) · KL(softmax(teacher / τ) ‖ softmax(student))

What makes it work there is that both see the *same* augmented view, which `edgeopt.data.augment` gives.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced


def cross_model(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None,
    *,
    temperature: float = 1.0,
    hard_weight: float = 0.5,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the loss over samples.

    Args:
        student: logits [N, classes].
        teacher: logits [N, classes].
        target: classes int64 [N]; None: soft labels alone, with all of the weight.
        temperature: τ.
        hard_weight: λ.
        reduction: mean or sum over samples.
    """
    log_p, log_q = F.log_softmax(teacher / temperature, dim=-1), F.log_softmax(student, dim=-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=-1)
    if target is None:
        return reduced(divergence, None, reduction)
    hard = F.cross_entropy(student, target, reduction="none")
    return reduced(hard_weight * hard + (1 - hard_weight) * divergence, None, reduction)
