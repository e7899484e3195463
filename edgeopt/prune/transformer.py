"""Prune a transformer: drop layers, choose heads and neurons within a budget, cut them, and prove the cut.

calibration data ─▶ versions of every part (units left, weights, error) ─┐
model, target    ─▶ costs of every version ───────────────────────────── allocation ─▶ surgery, compared to 1e-5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.errors import RecipeError
from edgeopt.models.reshape import Shape, followed
from edgeopt.prune.choice import PartAllocation, Setting, apply_levels
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.hidden import cut_hidden, hidden_width
from edgeopt.prune.result import Allocation, LayerWidth
from edgeopt.prune.structure.anatomy import Anatomy, anatomy_of
from edgeopt.prune.structure.layers import drop_layers
from edgeopt.prune.surgery import Choice, operate


@dataclass(frozen=True)
class PrunedTransformer:
    """What pruning a transformer did to it."""

    shape: Shape
    allocation: Allocation | None
    layers: tuple[LayerWidth, ...]
    dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    whole_parts: tuple[str, ...] = ()


_DEFAULTS = Setting()


def prune_transformer(
    model: nn.Module, samples: Samples, *, options: PruneOptions, setting: Setting = _DEFAULTS
) -> PrunedTransformer:
    """Prune `model` in place, without any training.

    Args:
        model: a transformer.
        samples: training samples; some of them calibrate.
        options: how much, by which importance.
        setting: costs, step, seed.

    Raises:
        ModelError: the budget cannot be reached; the message says what can.
        RecipeError: a pattern or rule matches nothing, or an option does not fit a transformer.
    """
    torch.manual_seed(setting.seed)
    calibration = limited(samples, options.calibration_samples, seed=setting.seed)
    anatomy = anatomy_of(model, rules=options.rules, ignore=options.ignore)
    shape = Shape()
    dropped: dict[str, tuple[int, ...]] = {}
    first = None if options.without_budget else PartAllocation(model, anatomy.parts, calibration, options, setting)
    hidden: LayerWidth | None = None
    if options.hidden is not None:
        shape, hidden = _narrow_hidden(model, calibration, options, setting)
        anatomy = anatomy_of(model, rules=options.rules, ignore=options.ignore)
    if options.drop_layers:
        without, dropped = drop_layers(model, calibration, anatomy, count=options.drop_layers)
        shape = followed(shape, without)
    narrower = (hidden,) if hidden else ()
    if first is None:
        return PrunedTransformer(shape, None, narrower, dropped, anatomy.unknown)
    run = (
        PartAllocation(model, _after(model, options).parts, calibration, options, setting, whole=first.whole)
        if dropped or hidden
        else first
    )
    found, levels = run.choose()
    choices = [Choice(part, levels[part.name][found.chosen[part.name]].kept) for part in run.parts]
    if options.recovery != "none":
        apply_levels(model, run.parts, levels, found.chosen)
    cut = operate(model, choices, samples.collate(range(min(4, len(samples)))))
    planned = run.costs.total(run.parts, found.chosen)
    allocation = Allocation(run.costs.unit, run.whole, run.budget, planned, found.divergence, found.judged)
    widths = tuple(LayerWidth(part.name, part.units, found.chosen[part.name], part.kind.value) for part in run.parts)
    return PrunedTransformer(followed(shape, cut), allocation, (*narrower, *widths), dropped, anatomy.unknown)


def _narrow_hidden(model: nn.Module, samples: Samples, options: PruneOptions, setting: Setting) -> tuple[Shape, LayerWidth]:
    """Narrow the hidden width as the options say.

    Raises:
        RecipeError: the width is not smaller than the model's, or part of the model is to be ignored.
    """
    if options.ignore:
        raise RecipeError("prune.hidden narrows all layers, so that none can be ignored; leave out prune.ignore")
    size, asked = hidden_width(model), options.hidden or 0.0
    left = asked * size if asked < 1 else asked
    left = max(setting.step, round(left / setting.step) * setting.step) if size > setting.step else round(left)
    if not 0 < left < size:
        raise RecipeError(f"prune.hidden is {asked:g}: {left} channels would be left of {size}; give less")
    parts = anatomy_of(model, rules=options.rules).parts
    importance = "magnitude" if options.importance == "magnitude" else "activations"
    refit = options.recovery != "none"
    shape, kept = cut_hidden(model, parts, samples, left=int(left), importance=importance, refit=refit)
    return shape, LayerWidth("hidden", size, len(kept), "hidden")


def _after(model: nn.Module, options: PruneOptions) -> Anatomy:
    try:
        return anatomy_of(model, rules=options.rules, ignore=options.ignore)
    except RecipeError as error:
        raise RecipeError(f"after {options.drop_layers} layers were dropped and the rest renumbered: {error}") from error
