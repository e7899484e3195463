"""For every part the versions that an allocation chooses from: which units are left, with which weights, at what error.

The error of a version is how much the readers' outputs change on calibration data, as a share of their size:

    e = tr((W − W') H (W − W')ᵀ) / tr(W H Wᵀ)        H: second moments of the readers' inputs

With OBS, W' is what OBS leaves. With any other importance the units are removed in the order of their scores, and W' is the
least-squares fit W H_{:,S} (H_{SS})⁻¹ to the channels S that are left, or W itself without its other columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgeopt.prune.bias import Offset
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.importance import activations, fisher, magnitude, movement, obs, taylor
from edgeopt.prune.structure.parts import Part, rows_of

SCORES = {
    "magnitude": magnitude.scores,
    "taylor": taylor.scores,
    "fisher": fisher.scores,
    "activations": activations.scores,
    "movement": movement.scores,
}
"""Importances that score every unit once."""


@dataclass(frozen=True)
class Level:
    """A version of a part: the units that are left, the readers' weights where they change, the error, and biases to move."""

    kept: tuple[int, ...]
    rows: Mapping[str, Tensor]
    error: float
    offsets: Mapping[str, Offset] = field(default_factory=dict)


Levels = Mapping[str, Mapping[int, Level]]
"""By part, and by the number of units that are left."""


def levels_of(
    parts: Sequence[Part], evidence: Evidence, *, importance: str, grid: Mapping[str, Collection[int]], refit: bool = True
) -> dict[str, dict[int, Level]]:
    """Return the versions of every part with as many units as `grid` names, and the whole part.

    Args:
        parts: what is pruned.
        evidence: the model and calibration data.
        importance: "obs" or one of `SCORES`.
        grid: how many units may be left, by part.
        refit: fit the readers' weights to what is left (OBS always does).
    """
    moments = evidence.second_moments(parts)
    scored = SCORES[importance](parts, evidence) if importance != "obs" else {}
    found: dict[str, dict[int, Level]] = {}
    for part in parts:
        whole = Level(tuple(range(part.units)), {}, 0.0)
        found[part.name] = {part.units: whole}
        counts = [count for count in grid[part.name] if part.least <= count < part.units]
        if importance == "obs":
            steps = obs.removals(part, evidence.model, moments, counts)
            versions = [Level(step.kept, step.rows, 0.0) for step in steps]
        else:
            order = scored[part.name].argsort(descending=True).tolist()
            versions = [_fitted(part, sorted(order[:count]), evidence, moments, refit=refit) for count in counts]
        for version in versions:
            error = _error(part, version, evidence, moments)
            found[part.name][len(version.kept)] = Level(version.kept, version.rows, error, evidence.offsets)
    return found


def _fitted(part: Part, kept: Sequence[int], evidence: Evidence, moments: Mapping[str, Tensor], *, refit: bool) -> Level:
    rows = {}
    for cut in part.readers:
        whole = rows_of(evidence.model.get_submodule(cut.layer)).double()
        chosen = cut.columns(kept)
        others = sorted(set(range(whole.shape[1])) - set(cut.columns(range(part.units))))
        chosen = sorted([*chosen, *others])
        fitted = torch.zeros_like(whole)
        if chosen and refit:
            moment = obs.damped(moments[cut.layer])
            fitted[:, chosen] = torch.linalg.solve(moment[chosen][:, chosen], (whole @ moment[:, chosen]).T).T
        elif chosen:
            fitted[:, chosen] = whole[:, chosen]
        rows[cut.layer] = fitted.float()
    return Level(tuple(kept), rows, 0.0)


def _error(part: Part, level: Level, evidence: Evidence, moments: Mapping[str, Tensor]) -> float:
    lost = all_of_it = 0.0
    for cut in part.readers:
        whole = rows_of(evidence.model.get_submodule(cut.layer)).double()
        change = whole - level.rows[cut.layer].double()
        moment = moments[cut.layer]
        lost += float(((change @ moment) * change).sum())
        all_of_it += float(((whole @ moment) * whole).sum())
    return max(0.0, lost) / all_of_it if all_of_it else 0.0
