"""Which weights of a row may be left: a share of them, or n of every m that follow one another.

0.5    half of every row's weights is zero
2:4    of every four weights along a row two are zero (Mishra et al. 2021, https://arxiv.org/abs/2104.08378)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_GROUPS = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True)
class Pattern:
    """How many weights become zero.

    Attributes:
        share: of all weights.
        zeros: of every `group`; 0: any weights of a row.
        group: weights along a row that are counted together; 0: the whole row.
    """

    share: float
    zeros: int = 0
    group: int = 0

    def mask(self, scores: Tensor) -> Tensor:
        """Return which weights are left, bool [outputs, inputs]: those with the largest `scores` of each row or group.

        Weights at the end of a row that do not fill a group are left.
        """
        rows, inputs = scores.shape
        if not self.group:
            return _without_smallest(scores, int(inputs * self.share))
        whole = inputs // self.group * self.group
        grouped = scores[:, :whole].reshape(-1, self.group)
        left = _all(scores)
        left[:, :whole] = _without_smallest(grouped, self.zeros).reshape(rows, whole)
        return left


def read_pattern(text: str) -> Pattern:
    """Return the pattern in ``0.5`` or ``2:4``.

    Raises:
        ValueError: it is neither, or leaves nothing or everything.
    """
    groups = _GROUPS.fullmatch(text.strip())
    if groups is not None:
        left, size = int(groups[1]), int(groups[2])
        if not 0 < left < size:
            raise ValueError(f"'{text}': of {size} weights at least one and at most {size - 1} can be left")
        return Pattern(1 - left / size, size - left, size)
    try:
        share = float(text)
    except ValueError:
        raise ValueError(f"'{text}': write a share of zeros such as 0.5, or 2:4 for two of every four weights") from None
    if not 0 < share < 1:
        raise ValueError(f"'{text}': the share of zeros must lie between 0 and 1")
    return Pattern(share)


def _without_smallest(scores: Tensor, count: int) -> Tensor:
    """Return True for all but the `count` smallest scores of each row; of equal ones the first go."""
    return _all(scores).scatter_(1, scores.argsort(dim=1, stable=True)[:, :count], False)


def _all(scores: Tensor) -> Tensor:
    import torch

    return torch.ones_like(scores, dtype=torch.bool)
