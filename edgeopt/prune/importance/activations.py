"""Weights times activations (Wanda, Sun et al. 2023, https://arxiv.org/abs/2306.11695, eq. 1, summed over a unit).

s_u = Σ_{channels j of u} Σ_i |W_ij| · ‖X_j‖₂        W: the readers' weights, X_j: their inputs on calibration data
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.structure.parts import Part, rows_of


def scores(parts: Sequence[Part], evidence: Evidence) -> dict[str, Tensor]:
    """Return the score of every unit, float64 [units], by part."""
    moments = evidence.second_moments(parts)
    found = {}
    for part in parts:
        total = torch.zeros(part.units, dtype=torch.float64)
        for cut in part.readers:
            rows = rows_of(evidence.model.get_submodule(cut.layer)).double().abs()
            by_channel = rows.sum(0) * moments[cut.layer].diagonal().clamp(min=0).sqrt()
            for unit in range(part.units):
                total[unit] += by_channel[cut.columns([unit])].sum()
        found[part.name] = total
    return found
