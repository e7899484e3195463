"""Numbers of several kinds in one output, such as a detector's boxes and scores: squared error by each channel's spread.

    L = mean over positions and channels c of (s_c − t_c)² / max(σ_c², median of σ² over the channels)

σ_c is the standard deviation of the teacher's channel over samples and positions. Without it boxes in pixels (σ ≈ 100) count
10⁸ times as much as scores of classes (σ ≈ 0.01), which then learn nothing: each channel is standardised, as targets of several
regressions are. The median keeps channels that hardly vary on these samples, classes that do not occur, from being all noise.
"""

from __future__ import annotations

from torch import Tensor

from edgeopt.train.objectives.reduction import Reduction, reduced


def channel_variances(teacher: Tensor) -> Tensor:
    """Return what the squared error of each channel is divided by, float32 [channels].

    Args:
        teacher: outputs [N, …, channels] of some samples.
    """
    variances = teacher.float().flatten(0, -2).var(dim=0, correction=0)
    return variances.clamp_min(max(float(variances.median()), 1e-12))


def channel_values(
    student: Tensor,
    teacher: Tensor,
    variances: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the squared error, per sample the mean over positions and channels.

    Args:
        student: outputs [N, …, channels].
        teacher: outputs of the same shape.
        variances: of `channel_variances`; None: errors as they are.
        mask: [N, positions], 0 where padding is.
        reduction: mean or sum over samples.
    """
    errors = (student - teacher).square()
    if variances is not None:
        errors = errors / variances
    if mask is not None and errors.shape[:2] == mask.shape:
        weights = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
        return reduced((errors.flatten(2).mean(dim=2) * weights).sum(dim=1), None, reduction)
    return reduced(errors.reshape(len(errors), -1).mean(dim=1), None, reduction)
