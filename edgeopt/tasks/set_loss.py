"""The loss of detectors that answer with a set of boxes, as DETR, YOLOS and their kin do.

Carion et al. (2020), "End-to-End Object Detection with Transformers", https://arxiv.org/abs/2005.12872. The boxes of an image
are matched one to one with those that are wanted, by the smallest sum of

    cost = −p(class) + 5 · |b − b'|₁ − 2 · GIoU(b, b')

and the loss of matched pairs is 5 · |b − b'|₁ + 2 · (1 − GIoU), divided by the number of objects, and the cross-entropy of the
class of every box: with a weight of 0.1 for one without an object where there is a class for it (a softmax), else that of the
sigmoid, focused on what is wrong (Lin et al. 2017, https://arxiv.org/abs/1708.02002).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeopt.extras import need

_DISTANCE, _OVERLAP, _NOTHING = 5.0, 2.0, 0.1
_ALPHA, _GAMMA = 0.25, 2.0

Wanted = tuple[Tensor, Tensor]
"""Classes [objects] and boxes [objects, 4] of an image; boxes as (centre x, centre y, width, height), shares of the input."""


def set_loss(logits: Tensor, boxes: Tensor, wanted: Sequence[Wanted], *, nothing: bool) -> Tensor:
    """Return the loss, summed over images.

    Args:
        logits: [N, boxes, classes]; of `nothing`, the last class stands for no object.
        boxes: [N, boxes, 4].
        wanted: of each image.
        nothing: whether there is a class for no object.

    Raises:
        MachineError: the package scipy is not installed.
    """
    need("scipy", purpose="the loss of detectors")
    images = zip(logits.float(), boxes.float(), wanted, strict=True)
    return torch.stack([_of_image(scores, found, one, nothing=nothing) for scores, found, one in images]).sum()


def _of_image(scores: Tensor, found: Tensor, wanted: Wanted, *, nothing: bool) -> Tensor:
    classes, truth = wanted
    rows, columns = _matched(scores, found, wanted, nothing=nothing)
    own = classes[columns]
    count = max(len(classes), 1)
    distance = (found[rows] - truth[columns]).abs().sum()
    overlaps = generalized_overlap(found[rows], truth[columns]).diagonal()
    pairs = (_DISTANCE * distance + _OVERLAP * (1 - overlaps).sum()) / count
    if not nothing:
        return pairs + _focal(scores, rows, own) / count
    last = scores.shape[1] - 1
    labels = torch.full((len(scores),), last, dtype=torch.long, device=scores.device)
    labels[rows] = own
    weights = torch.ones(last + 1, device=scores.device)
    weights[last] = _NOTHING
    return pairs + F.cross_entropy(scores, labels, weights)


def _focal(scores: Tensor, rows: Tensor, classes: Tensor) -> Tensor:
    """Return the focal loss of sigmoids, summed over boxes and classes."""
    labels = torch.zeros_like(scores)
    labels[rows, classes] = 1.0
    plain = F.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    right = torch.where(labels > 0, scores.sigmoid(), 1 - scores.sigmoid())
    weight = torch.where(labels > 0, _ALPHA, 1 - _ALPHA)
    return (weight * (1 - right) ** _GAMMA * plain).sum()


@torch.no_grad()
def _matched(scores: Tensor, found: Tensor, wanted: Wanted, *, nothing: bool) -> tuple[Tensor, Tensor]:
    """Return the numbers of found and of wanted boxes that belong together."""
    from scipy.optimize import linear_sum_assignment

    classes, truth = wanted
    likely = scores.softmax(-1) if nothing else scores.sigmoid()
    cost = _DISTANCE * torch.cdist(found, truth, p=1) - likely[:, classes] - _OVERLAP * generalized_overlap(found, truth)
    rows, columns = linear_sum_assignment(torch.nan_to_num(cost).cpu().numpy())  # (NaN is found in the loss)
    return torch.as_tensor(rows, device=found.device), torch.as_tensor(columns, device=found.device)


def generalized_overlap(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the generalized intersection over union of all pairs of boxes, [ours, theirs].

    Rezatofighi et al. (2019), https://arxiv.org/abs/1902.09630: IoU − (hull − union) / hull.
    """
    one, other = _corners(ours)[:, None], _corners(theirs)[None]
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, other)]
    union = (areas[0] + areas[1] - shared).clamp(min=1e-9)
    outer = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    hull = outer.prod(-1).clamp(min=1e-9)
    return shared / union - (hull - union) / hull


def _corners(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], dim=-1)
