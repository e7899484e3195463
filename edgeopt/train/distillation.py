"""The losses of distillation.

Soft labels: Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network", https://arxiv.org/abs/1503.02531,
section 2. With p = softmax(teacher / T) and q = softmax(student / T) the loss is T² · KL(p ‖ q): gradients of soft
targets shrink as 1/T², the factor keeps them comparable with those of the hard labels for any T.

Hidden states: mean squared error between the student's layers and the matching layers of the teacher, as in Jiao et al.
(2020), "TinyBERT", https://arxiv.org/abs/1909.10351, equation 8, without the projection, since layer mapping keeps the width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.labels import check_labels
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.models.call import call
from edgeopt.train.config import DistillLoss
from edgeopt.train.loop import Loss


def soft_label_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(softmax(teacher / T) ‖ softmax(student / T)), averaged over the batch; both logits are [N, classes]."""
    log_q = F.log_softmax(student / temperature, dim=-1)
    log_p = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(log_q, log_p, log_target=True, reduction="batchmean") * temperature**2


def hidden_state_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], layers: Sequence[int], mask: Tensor) -> Tensor:
    """Return the mean squared error between hidden states, over tokens that are not padding.

    Args:
        student: embeddings, then one state per layer, [N, sequence, hidden] each.
        teacher: the same of the teacher.
        layers: for each student layer the matching layer of the teacher, from 0.
        mask: [N, sequence], 1 where a token is, 0 where padding is.
    """
    pairs = zip(student[1:], (teacher[layer + 1] for layer in layers), strict=True)
    kept = mask.unsqueeze(-1).to(student[0].dtype)
    elements = kept.sum() * student[0].shape[-1]
    return torch.stack([((ours - theirs) ** 2 * kept).sum() / elements for ours, theirs in pairs]).mean()


def distillation_loss(
    teacher: nn.Module, soft_labels: Tensor, samples: Samples, *, options: DistillLoss, layers: Sequence[int] | None
) -> Loss:
    """Return the loss of a student that learns from `teacher`.

    Args:
        teacher: frozen; run again only for the hidden-state loss.
        soft_labels: the teacher's logits of all samples, [samples, classes].
        samples: the training split; their labels are the hard labels.
        options: the weights.
        layers: the layer mapping, for the hidden-state loss.

    Raises:
        DataError: hard labels are needed and the samples have none.
    """
    if samples.labels is None and options.soft_weight < 1:
        raise DataError("the training split has no labels; set distill.loss.soft_weight to 1 to learn from soft labels alone")
    hard = None
    if samples.labels is not None and options.soft_weight < 1:
        check_labels(samples.labels, soft_labels.shape[1], where="the training split")
        hard = torch.from_numpy(samples.labels)

    def loss(student: nn.Module, inputs: Mapping[str, Tensor], indices: Sequence[int]) -> Tensor:
        wants_hidden = options.hidden_weight > 0 and layers is not None
        ours = call(student, inputs, hidden=wants_hidden)
        chosen = list(indices)
        value = options.soft_weight * soft_label_loss(
            ours.logits, soft_labels[chosen].to(ours.logits.device), options.temperature
        )
        if hard is not None:
            value = value + (1 - options.soft_weight) * F.cross_entropy(ours.logits, hard[chosen].to(ours.logits.device))
        if wants_hidden and layers is not None:
            with torch.no_grad():
                theirs = call(teacher, inputs, hidden=True)
            value = value + options.hidden_weight * hidden_state_loss(
                ours.hidden, theirs.hidden, layers, inputs["attention_mask"]
            )
        return value

    return loss
