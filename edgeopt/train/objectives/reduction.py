"""Sums and means over the elements that count."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Reduction = Literal["mean", "sum"]


def reduced(values: Tensor, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """Return the mean or sum of `values` [...], one per element; those where `mask` [...] is 0 do not count.

    A mask may hold fractions, which weigh the elements. The mean of nothing is 0.
    """
    if mask is None:
        return values.sum() if reduction == "sum" else values.mean()
    weights = mask.to(values.dtype)
    total = (values * weights).sum()
    return total if reduction == "sum" else total / weights.sum().clamp_min(1e-12)
