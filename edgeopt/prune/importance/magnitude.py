"""Magnitude: the norm of all weights that go with a unit.

Li et al. (2017), https://arxiv.org/abs/1608.08710; over coupled layers as in DepGraph, https://arxiv.org/abs/2301.12900, 3.3.

    s_u = sqrt( Σ_cuts ‖W_u‖² )
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeopt.models.kept import is_conv1d
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.structure.parts import Cut, Part


def score(part: Part, evidence: Evidence) -> Tensor:
    """Return the score of every unit of `part`, float64 [units]."""
    return sum_over_cuts(evidence.model, part.cuts(), part.units, lambda weight: weight.detach().double() ** 2).sqrt()


def scores(parts: Sequence[Part], evidence: Evidence) -> dict[str, Tensor]:
    """Return the score of every unit, by part."""
    return {part.name: score(part, evidence) for part in parts}


def sum_over_cuts(model: nn.Module, cuts: Sequence[Cut], units: int, value: object) -> Tensor:
    """Return for every unit the sum of value(weight) over the weights that go with it, float64 [units]."""
    total = torch.zeros(units, dtype=torch.float64)
    for cut in cuts:
        for weight, axis in weights_of(model, cut):
            by_channel = value(weight).transpose(0, axis).flatten(1).sum(1) if weight.ndim > 1 else value(weight)  # type: ignore[operator]
            for start in cut.starts:
                total += by_channel[start : start + units * cut.width].view(units, cut.width).sum(1).double()
    return total


def weights_of(model: nn.Module, cut: Cut) -> list[tuple[Tensor, int]]:
    """Return the parameters that `cut` goes through, each with the axis of the channels."""
    if cut.side.startswith("axis"):
        return [(model.get_parameter(cut.layer), int(cut.side.removeprefix("axis")))]
    layer = model.get_submodule(cut.layer)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.Embedding):
        return [(weight, 1)]
    axis = int((cut.side == "in") != is_conv1d(layer)) if weight.ndim > 1 else 0
    found = [(weight, axis)]
    bias = getattr(layer, "bias", None)
    if cut.side == "out" and isinstance(bias, Tensor):
        found.append((bias, 0))
    return found
