"""Prune a transformer: drop layers, choose heads and neurons within a budget, cut them, and prove the cut.

calibration data ─▶ versions of every part (units left, weights, error) ─┐
model, target    ─▶ costs of every version ───────────────────────────── allocation ─▶ surgery, compared to 1e-5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.reshape import Shape, followed
from edgeopt.prune.allocation.costs import Costs, mac_costs, parameter_costs
from edgeopt.prune.allocation.dynamic import Option
from edgeopt.prune.allocation.search import Found, search
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.hidden import cut_hidden, hidden_width
from edgeopt.prune.importance.levels import Level, levels_of
from edgeopt.prune.losses import Judge, loss_for
from edgeopt.prune.result import Allocation, LayerWidth
from edgeopt.prune.structure.anatomy import Anatomy, anatomy_of
from edgeopt.prune.structure.layers import drop_layers
from edgeopt.prune.structure.parts import Kind, Part, rows_of, set_rows
from edgeopt.prune.surgery import Choice, operate

_LEVELS = 16
_MOST_BYTES = 2e9
"""All versions of all parts together."""

_SEARCH_S = 120.0

CostsOf = Callable[[nn.Module, Sequence[Part], Mapping[str, Sequence[int]]], Costs]
"""Returns the costs of a model's parts, given how many units may be left of each."""


@dataclass(frozen=True)
class PrunedTransformer:
    """What pruning a transformer did to it."""

    shape: Shape
    allocation: Allocation | None
    layers: tuple[LayerWidth, ...]
    dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    whole_parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What a pruning knows besides the model and the data.

    Attributes:
        costs_of: latency on the target; needed for a latency budget.
        step: counts of neurons are multiples of this.
        seed: of the calibration samples and the search.
    """

    costs_of: CostsOf | None = None
    step: int = 16
    seed: int = 0


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
    first = None if options.without_budget else _Allocation(model, anatomy, calibration, options, setting)
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
        _Allocation(model, _after(model, options), calibration, options, setting, whole=first.whole)
        if dropped or hidden
        else first
    )
    found, levels = run.choose()
    choices = [Choice(part, levels[part.name][found.chosen[part.name]].kept) for part in run.parts]
    if options.recovery != "none":
        _apply(model, run.parts, levels, found.chosen)
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


class _Allocation:
    """What can be left of every part, what it costs, and the choice."""

    def __init__(
        self,
        model: nn.Module,
        anatomy: Anatomy,
        samples: Samples,
        options: PruneOptions,
        setting: Setting,
        *,
        whole: float | None = None,
    ) -> None:
        self.model, self.samples, self.options, self.setting = model, samples, options, setting
        self.parts = [part for part in anatomy.parts if (options.heads if part.kind is Kind.HEADS else options.neurons)]
        self.grid = grid_of(model, self.parts, setting.step)
        self.costs = self._costs()
        self.whole = whole or self.costs.whole(self.parts)
        self.budget = options.budget(self.whole)

    def _costs(self) -> Costs:
        if self.options.latency is None:
            sample = self.samples.collate([0])
            by_parameters = self.options.parameters is not None
            return parameter_costs(self.model, self.parts) if by_parameters else mac_costs(self.model, self.parts, sample)
        if self.setting.costs_of is None:
            raise RecipeError("a latency budget needs a target that it is measured on; give --target")
        return self.setting.costs_of(self.model, self.parts, self.grid)

    def choose(self) -> tuple[Found, dict[str, dict[int, Level]]]:
        """Return the search's result and all versions."""
        check_reachable(self.parts, self.costs, self.budget, whole=self.whole, asked=self.options.asked())
        importance = "obs" if self.options.importance == "auto" else self.options.importance
        if importance == "norm-scale":
            raise RecipeError("prune.importance 'norm-scale' is for batch normalisations, which transformers lack")
        evidence = Evidence(self.model, self.samples, loss_for(self.samples))
        refit = self.options.recovery != "none"
        levels = levels_of(self.parts, evidence, importance=importance, grid=self.grid, refit=refit)
        if self.options.scope == "layer":
            return Found(_uniform(self.parts, levels, self.costs, self.budget), 0.0, 0), levels
        offered = {
            part.name: [Option(count, self.costs.of(part, count), level.error) for count, level in levels[part.name].items()]
            for part in self.parts
        }
        trial = _Trial(self.model, self.parts, levels, Judge(self.model, self.samples))
        rounds, room = self.options.search_rounds, self.budget - self.costs.rest
        found = search(offered, room, trial, rounds=rounds, seconds=_SEARCH_S, seed=self.setting.seed)
        trial.restore()
        if found is None:
            raise ModelError(f"{self.options.asked()} cannot be reached with the widths that are tried")
        return found, levels


def grid_of(model: nn.Module, parts: Sequence[Part], step: int) -> dict[str, list[int]]:
    """Return how many units may be left of each part: every number of heads, and multiples of `step` neurons."""
    each = sum(rows_of(model.get_submodule(cut.layer)).numel() * 4 for part in parts for cut in part.readers)
    most = int(min(_LEVELS, max(4, _MOST_BYTES / max(1, each))))
    grid = {}
    for part in parts:
        if part.kind is Kind.HEADS and part.units <= 2 * most:
            counts = set(range(part.least, part.units))
        else:
            shares = [part.units * place / most for place in range(most)]
            width = step if part.units >= 2 * step else 1
            counts = {round(share / width) * width for share in shares} | {part.least}
        grid[part.name] = sorted(count for count in counts if part.least <= count < part.units)
    return grid


def check_reachable(parts: Sequence[Part], costs: Costs, budget: float, *, whole: float, asked: str) -> None:
    """Check that the smallest model fits into the budget.

    Raises:
        ModelError: it does not; the message says what can be reached.
    """
    least = costs.total(parts, {part.name: part.least for part in parts})
    if least <= budget:
        return
    digits = ",.0f" if whole >= 1000 else ",.4g"
    stays = ", ".join(f"'{part.name}'" for part in parts if part.least)[:200]
    raise ModelError(
        f"{asked} cannot be reached: with the fewest heads and neurons {least:{digits}} {costs.unit} are left of "
        f"{whole:{digits}}, "
        f"{least / whole:.3f}x, {least - budget:{digits}} more than allowed; give at least {least / whole + 0.005:.2f}x, or "
        f"remove whole layers first (drop_layers)" + (f"; at least one unit stays in {stays}" if stays else "")
    )


def _uniform(parts: Sequence[Part], levels: Mapping[str, Mapping[int, Level]], costs: Costs, budget: float) -> dict[str, int]:
    """Return the largest same share of every part that fits the budget."""
    for share in (1 - place / 100 for place in range(101)):
        counts = {
            part.name: max([count for count in levels[part.name] if count <= share * part.units + 1e-9], default=part.least)
            for part in parts
        }
        if costs.total(parts, counts) <= budget:
            return counts
    return {part.name: part.least for part in parts}


class _Trial:
    """Judges choices of versions: puts their weights into the model and asks how far its outputs are off."""

    def __init__(
        self, model: nn.Module, parts: Sequence[Part], levels: Mapping[str, Mapping[int, Level]], judge: Judge
    ) -> None:
        self.model, self.parts, self.levels, self.judge = model, parts, levels, judge
        self.whole = {cut.layer: rows_of(model.get_submodule(cut.layer)).clone() for part in parts for cut in part.readers}

    def __call__(self, chosen: Mapping[str, int]) -> float:
        _apply(self.model, self.parts, self.levels, chosen, whole=self.whole)
        return self.judge()

    def restore(self) -> None:
        """Put the whole model's weights back."""
        for name, rows in self.whole.items():
            set_rows(self.model.get_submodule(name), rows)


def _apply(
    model: nn.Module,
    parts: Sequence[Part],
    levels: Mapping[str, Mapping[int, Level]],
    chosen: Mapping[str, int],
    *,
    whole: Mapping[str, Any] | None = None,
) -> None:
    """Set the readers' weights to those of the chosen versions."""
    for part in parts:
        level = levels[part.name][chosen[part.name]]
        for cut in part.readers:
            rows = level.rows.get(cut.layer)
            if rows is None and whole is not None:
                rows = whole[cut.layer]
            if rows is not None:
                set_rows(model.get_submodule(cut.layer), rows)
