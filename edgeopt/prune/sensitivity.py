"""How much each part of a transformer bears alone: the divergence of the outputs against the units that are left."""

from __future__ import annotations

from torch import nn

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.choice import importance_of
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.importance.levels import levels_of
from edgeopt.prune.losses import Judge, loss_for
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import Part, rows_of, set_rows

_SHARES = (0.75, 0.5, 0.25, 0.0)


def part_sensitivity(
    model: nn.Module, samples: Samples, *, options: PruneOptions, seed: int = 0
) -> list[tuple[Part, dict[int, float]]]:
    """Return for every part the divergence by the number of units left; the model is unchanged afterwards."""
    calibration = limited(samples, options.calibration_samples, seed=seed)
    parts = anatomy_of(model, rules=options.rules, ignore=options.ignore).parts
    grid = {part.name: sorted({max(part.least, round(part.units * share)) for share in _SHARES}) for part in parts}
    levels = levels_of(parts, Evidence(model, calibration, loss_for(calibration)), importance=importance_of(options), grid=grid)
    judge = Judge(model, calibration)
    found = []
    with progress.task("sensitivity", total=len(parts)) as advance:
        for part in parts:
            whole = {cut.layer: rows_of(model.get_submodule(cut.layer)).clone() for cut in part.readers}
            divergence = {part.units: 0.0}
            for count in grid[part.name]:
                for name, rows in levels[part.name][count].rows.items():
                    set_rows(model.get_submodule(name), rows)
                divergence[count] = judge()
            for name, rows in whole.items():
                set_rows(model.get_submodule(name), rows)
            found.append((part, divergence))
            advance()
    return found
