"""Diagonal Fisher information of a mask on each unit (Kwon et al. 2022, https://arxiv.org/abs/2204.09656, eq. 5 and 9).

A mask m_u multiplies what unit u gives to its readers. Its gradient is that of the readers' weights, summed:

    ∂L/∂m_u = Σ_{w of readers of u} g_w · w        s_u = mean over samples of (∂L/∂m_u)²
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance.magnitude import sum_over_cuts
from edgeopt.prune.importance.taylor import change_of
from edgeopt.prune.structure.parts import Part


def scores(parts: Sequence[Part], evidence: Evidence) -> dict[str, Tensor]:
    """Return the score of every unit, float64 [units], by part."""
    found = {part.name: torch.zeros(part.units, dtype=torch.float64) for part in parts}
    count = 0
    for _ in evidence.gradients():
        count += 1
        for part in parts:
            found[part.name] += sum_over_cuts(evidence.model, part.readers, part.units, change_of) ** 2
    return {name: value / max(1, count) for name, value in found.items()}
