"""How much a model's outputs change when one of its parts has fewer units, and everything else is whole.

A version's own error (`importance.levels`) is that of the part's output. It is multiplied by how strongly the model's outputs
react to this part, measured at two versions, half and least, and interpolated between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.choice import Trial
from edgeopt.prune.importance.levels import levels_of
from edgeopt.prune.losses import Judge, loss_for
from edgeopt.prune.structure.parts import Part

_LEAST_ERROR = 1e-9


def output_errors(
    model: nn.Module, parts: Sequence[Part], samples: Samples, *, grid: Mapping[str, Collection[int]]
) -> dict[str, dict[int, float]]:
    """Return for every part, by the units that are left, the outputs' change as a share of their power; 0 for the whole part.

    Args:
        model: in evaluation mode; its weights are the same afterwards.
        parts: what may be pruned.
        samples: calibration samples.
        grid: how many units may be left, by part.
    """
    levels = levels_of(parts, Evidence(model, samples, loss_for(samples)), importance="obs", grid=grid)
    trial = Trial(model, parts, levels, Judge(model, samples, power=True))
    whole = {part.name: part.units for part in parts}
    found: dict[str, dict[int, float]] = {}
    for part in parts:
        own = {count: level.error for count, level in levels[part.name].items()}
        fewer = sorted(count for count in own if count < part.units)
        tried = {count: trial({**whole, part.name: count}) for count in {*fewer[:1], *fewer[len(fewer) // 2 :][:1]}}
        known = sorted((own[count], outputs / max(own[count], _LEAST_ERROR)) for count, outputs in tried.items())
        react = [factor for _, factor in known]
        found[part.name] = {
            count: error * float(np.interp(error, [at for at, _ in known], react)) if react else 0.0
            for count, error in own.items()
        }
    trial.restore()
    return found
