"""Attention transfer: where in an image a convolutional layer responds, whatever its number of channels.

Zagoruyko and Komodakis (2017), https://arxiv.org/abs/1612.03928, equation 2. The map of a layer is the sum of squares over
channels, flattened and normalised, Q = vec(Σ_c F_c²); then

    L = Σ_layers ‖ Q_S / ‖Q_S‖₂ − Q_T / ‖Q_T‖₂ ‖²          (the square of the paper's norm, as in the authors' code)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.train.objectives.reduction import Reduction, reduced


def attention_transfer(student: Sequence[Tensor], teacher: Sequence[Tensor], *, reduction: Reduction = "mean") -> Tensor:
    """Return the loss over samples, summed over pairs of layers.

    Args:
        student: feature maps [N, channels, height, width]; a smaller map is compared at the smaller size.
        teacher: as many, with channels of their own.
        reduction: mean or sum over samples.
    """
    distances = []
    for ours, theirs in zip(student, teacher, strict=True):
        fitted_ours, fitted_theirs = same_size(ours, theirs)
        distances.append((_map(fitted_ours) - _map(fitted_theirs)).square().sum(dim=1))
    return reduced(torch.stack(distances).sum(dim=0), None, reduction)


def same_size(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps at the smaller of their sizes, by averaging.

    Raises:
        ModelError: one is no map [N, channels, height, width].
    """
    for one, whose in ((ours, "student"), (theirs, "teacher")):
        if one.ndim != 4:
            raise ModelError(
                f"loss.features: a module of the {whose} gives {list(one.shape)}, and a feature map is [samples, channels, "
                "height, width]; name a convolution or a stage in front of the pooling"
            )
    size = min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3])
    fitted = [one if tuple(one.shape[2:]) == size else F.adaptive_avg_pool2d(one, size) for one in (ours, theirs)]
    return fitted[0], fitted[1]


def _map(features: Tensor) -> Tensor:
    return F.normalize(features.square().sum(dim=1).flatten(1), dim=1)
