"""Taylor: the estimated change of the loss without a unit (Molchanov et al. 2019, https://arxiv.org/abs/1906.10771, eq. 8).

With gradients g of the loss, over all coupled weights of unit u:

    s_u = mean over samples of ( Σ_{w of u} g_w · w )²
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance.magnitude import sum_over_cuts
from edgeopt.prune.structure.parts import Part


def scores(parts: Sequence[Part], evidence: Evidence) -> dict[str, Tensor]:
    """Return the score of every unit, float64 [units], by part."""
    found = {part.name: torch.zeros(part.units, dtype=torch.float64) for part in parts}
    count = 0
    for _ in evidence.gradients():
        count += 1
        for part in parts:
            change = sum_over_cuts(evidence.model, part.cuts(), part.units, change_of)
            found[part.name] += change**2
    return {name: value / max(1, count) for name, value in found.items()}


def change_of(weight: Tensor) -> Tensor:
    """Return w · g of a parameter."""
    gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
    return (weight.detach() * gradient).double()
