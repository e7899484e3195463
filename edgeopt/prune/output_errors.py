"""How much a model's outputs change when one of its parts has fewer units, and everything else is whole.

Not the divergence that `PartAllocation` compares versions by, but a share of the outputs' power, so that what a quantizer
changes there can be added.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.choice import Trial, reactions
from edgeopt.prune.importance.levels import levels_of
from edgeopt.prune.losses import Judge, loss_for
from edgeopt.prune.structure.parts import Part


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
    found = reactions(parts, levels, trial)
    trial.restore()
    return found
