"""Prune channels as parts: least squares on the layers that read them, and a choice of widths for the target.

As HALP (https://arxiv.org/abs/2110.10811) does, widths are chosen in the steps in which the target's kernels compute, by what
each width costs there; the errors are those of OBS, the choice is that of `edgeopt.prune.choice`, and a latency is measured
again on the whole network that was chosen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.errors import ModelError
from edgeopt.models.reshape import Shape
from edgeopt.prune.allocation.search import Found
from edgeopt.prune.choice import PartAllocation, Setting, apply_levels
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.coupled import coupled_channels
from edgeopt.prune.importance.levels import Level
from edgeopt.prune.result import Allocation, LayerWidth
from edgeopt.prune.structure.parts import Part
from edgeopt.prune.surgery import Choice, operate

_TRIES = 4
SCORED_BY_PARTS = ("obs", "activations", "fisher", "movement")
"""Importances that other networks than transformers have by parts alone."""


@dataclass(frozen=True)
class PrunedParts:
    """What pruning channels did to a network; `spared` are layers that stayed whole, with the reason."""

    shape: Shape
    allocation: Allocation
    layers: tuple[LayerWidth, ...]
    spared: Mapping[str, str]


def prune_channel_parts(
    model: nn.Module,
    samples: Samples,
    *,
    options: PruneOptions,
    setting: Setting,
    latency_of: Callable[[nn.Module], float] | None = None,
) -> PrunedParts:
    """Remove channels of `model`, in place, without any training.

    Args:
        model: any network.
        samples: training samples; some of them calibrate.
        options: the budget and how units are ranked.
        setting: costs, step, seed.
        latency_of: measures a network on the target.

    Raises:
        ModelError: no channels can be removed, or the budget cannot be reached.
    """
    torch.manual_seed(setting.seed)
    model.eval()
    calibration = limited(samples, options.calibration_samples, seed=setting.seed)
    found = coupled_channels(model, samples.collate(range(min(2, len(samples)))), ignore=options.ignore)
    run = PartAllocation(model, found.parts, calibration, options, setting)
    budget = run.budget
    for _ in range(_TRIES):
        chosen, levels = run.choose()
        planned = run.costs.total(run.parts, chosen.chosen)
        if options.latency is None or latency_of is None:
            break
        planned = latency_of(_cut(copy.deepcopy(model), run.parts, levels, chosen, samples, options)[0])
        if planned <= budget:
            break
        run.budget *= 0.99 * budget / planned
        if run.least() > run.budget:
            raise _missed(options, run, planned, budget)
    else:
        raise _missed(options, run, planned, budget)
    shape = _cut(model, run.parts, levels, chosen, samples, options)[1]
    allocation = Allocation(run.costs.unit, run.whole, budget, planned, chosen.divergence, chosen.judged)
    widths = tuple(LayerWidth(part.name, part.units, chosen.chosen[part.name], part.kind.value) for part in run.parts)
    return PrunedParts(shape, allocation, widths, found.spared)


def _missed(options: PruneOptions, run: PartAllocation, measured: float, budget: float) -> ModelError:
    return ModelError(
        f"{options.asked()} was not reached: {measured:.4g} {run.costs.unit} were measured, {budget:.4g} are allowed; give "
        f"at least {measured / run.whole + 0.005:.2f}x, or raise max_layer_share"
    )


def _cut(  # noqa: PLR0917
    model: nn.Module,
    parts: Sequence[Part],
    levels: Mapping[str, Mapping[int, Level]],
    found: Found,
    samples: Samples,
    options: PruneOptions,
) -> tuple[nn.Module, Shape]:
    if options.recovery != "none":
        apply_levels(model, parts, levels, found.chosen)
    choices = [Choice(part, levels[part.name][found.chosen[part.name]].kept) for part in parts]
    return model, operate(model, choices, samples.collate(range(min(2, len(samples)))))
