"""Movement: units whose weights a short training moves towards zero go first.

Sanh et al. (2020), https://arxiv.org/abs/2005.07683, equation 4 (there with scores per weight, here summed over a unit's, as in
block movement pruning, Lagunas et al. 2021, https://arxiv.org/abs/2109.04838):

    s_u = − Σ_steps Σ_{w of u} (∂L/∂w) · w        gradients and weights of each step of SGD on a copy of the model

On small data the steps are few and the scores noisy; `fisher` and `obs` need no training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance.magnitude import sum_over_cuts
from edgeopt.prune.importance.taylor import change_of
from edgeopt.prune.structure.parts import Part

_STEPS, _BATCH, _RATE = 64, 8, 1e-2


def scores(parts: Sequence[Part], evidence: Evidence) -> dict[str, Tensor]:
    """Return the score of every unit, float64 [units], by part; the model itself is not trained."""
    model = copy.deepcopy(evidence.model).eval()
    found = {part.name: torch.zeros(part.units, dtype=torch.float64) for part in parts}
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.is_floating_point()], lr=_RATE)
    samples = evidence.samples
    for step in range(_STEPS):
        indices = [(step * _BATCH + place) % len(samples) for place in range(min(_BATCH, len(samples)))]
        optimizer.zero_grad(set_to_none=True)
        evidence.loss(model, samples.collate(indices), indices).backward()  # type: ignore[no-untyped-call]
        for part in parts:
            found[part.name] -= sum_over_cuts(model, part.cuts(), part.units, change_of)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return found
