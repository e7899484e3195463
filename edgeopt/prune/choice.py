"""Choose how many units of every part are left, within a budget.

calibration data ─▶ versions of every part (units left, weights, error) ─┐
model, target    ─▶ costs of every version ───────────────────────────── dynamic programming, and a search over its weights

Where a layer lies between two parts its cost depends on both. Costs then hold for the widths of the last choice
(`Costs.settle`), and the choice is made again until it fits at its own widths.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.data.samples import Samples
from edgeopt.data.select import limited
from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.models.size import macs
from edgeopt.prune.allocation.costs import Costs, mac_costs, parameter_costs
from edgeopt.prune.allocation.dynamic import Option, choose
from edgeopt.prune.allocation.layer_costs import layer_mac_costs, layer_parameter_costs
from edgeopt.prune.allocation.search import Found, search
from edgeopt.prune.bias import bias_of, set_bias
from edgeopt.prune.calibration import Evidence
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.importance.levels import Level, levels_of
from edgeopt.prune.losses import Judge, loss_for
from edgeopt.prune.structure.parts import Kind, Part, rows_of, set_rows

_LEVELS = 16
_MOST_BYTES = 2e9
"""All versions of all parts together."""

_ROUNDS, _FEWEST_ROUNDS = 100, 8
"""Choices that are judged where the options do not say how many."""
_WORK_MACS = 2e12
"""Multiply-accumulates that judging choices may take where both numbers leave it open: some minutes of one core."""
_IMAGES, _TEXTS = 8, 32
"""Samples that the sensitivity to single parts is measured on, at most."""
_LEAST_ERROR = 1e-9
_WEAKEST = 1e-3
"""Of the strongest reaction to a part: how strongly outputs react to any other at least, whatever few samples show."""
_SETTLINGS = 4

CostsOf = Callable[[nn.Module, Sequence[Part], Mapping[str, Sequence[int]]], Costs]
"""Returns the costs of a model's parts, given how many units may be left of each."""


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


class PartAllocation:
    """What can be left of every part, what it costs, and the choice."""

    def __init__(
        self,
        model: nn.Module,
        parts: Sequence[Part],
        samples: Samples,
        options: PruneOptions,
        setting: Setting,
        *,
        whole: float | None = None,
    ) -> None:
        self.model, self.samples, self.options, self.setting = model, samples, options, setting
        self.parts = [part for part in parts if _wanted(part, options)]
        self.grid = (
            _given(self.parts, options.units)
            if options.units
            else grid_of(model, self.parts, setting.step, most_removed=options.max_layer_share)
        )
        self.costs = self._costs()
        self.whole = whole or self.costs.whole(self.parts)
        self.budget = self.costs.total(self.parts, self._counts()) if options.units else options.budget(self.whole)

    def _counts(self) -> dict[str, int]:
        """Return the units that the options leave of each part."""
        return {part.name: self.options.units.get(part.name, part.units) for part in self.parts}

    def _costs(self) -> Costs:
        if self.options.latency is None:
            sample = self.samples.collate([0])
            by_parameters = self.options.parameters is not None
            if self._has_channels():
                return (layer_parameter_costs if by_parameters else layer_mac_costs)(self.model, self.parts, sample)
            return parameter_costs(self.model, self.parts) if by_parameters else mac_costs(self.model, self.parts, sample)
        if self.setting.costs_of is None:
            raise RecipeError("a latency budget needs a target that it is measured on; give --target")
        return self.setting.costs_of(self.model, self.parts, self.grid)

    def least(self) -> float:
        """Return what the smallest model is expected to cost."""
        return least_cost(self.parts, self.costs, self._fewest())

    def _fewest(self) -> dict[str, int]:
        return {part.name: min([*self.grid[part.name], part.units]) for part in self.parts}

    @cached_property
    def levels(self) -> Mapping[str, Mapping[int, Level]]:
        """All versions of the parts, with the errors of their own outputs."""
        channels = self._has_channels()
        evidence = Evidence(self.model, self.samples, loss_for(self.samples), shrink=channels, centred=channels)
        refit = self.options.recovery != "none"
        return levels_of(self.parts, evidence, importance=importance_of(self.options), grid=self.grid, refit=refit)

    @cached_property
    def compared(self) -> Mapping[str, Mapping[int, Level]]:
        """The same with what each part alone changes at the outputs in place of its own error, so that parts can be compared.

        The last layers of a detector's head move boxes by all of their error, those of a backbone with shortcuts by little.
        """
        few = self._as_often(2 * len(self.parts), most=_IMAGES if self._has_channels() else _TEXTS, least=1)
        trial = Trial(
            self.model, self.parts, self.levels, Judge(self.model, limited(self.samples, few, seed=self.setting.seed))
        )
        errors = reactions(self.parts, self.levels, trial)
        trial.restore()
        versions = [(level.error, errors[name][count]) for name, found in self.levels.items() for count, level in found.items()]
        strongest = max((change / own for own, change in versions if own), default=0.0)
        weakest = _WEAKEST * strongest if strongest > 0 else 1.0
        return {
            name: {
                count: replace(level, error=max(errors[name][count], weakest * level.error)) for count, level in found.items()
            }
            for name, found in self.levels.items()
        }

    def choose(self) -> tuple[Found, Mapping[str, Mapping[int, Level]]]:
        """Return the search's result and all versions."""
        asked = self.options.asked()
        check_reachable(self.parts, self.costs, self.budget, fewest=self._fewest(), whole=self.whole, asked=asked)
        if self.options.units:
            return Found(self._counts(), 0.0, 0), self.levels
        if self.options.scope == "layer":
            return Found(_uniform(self.parts, self.levels, self.costs, self.budget), 0.0, 0), self.levels
        trial = Trial(self.model, self.parts, self.compared, Judge(self.model, self.samples))
        found = self._found(self.compared, trial)
        trial.restore()
        if found is None:
            raise ModelError(f"{self.options.asked()} cannot be reached with the widths that are tried")
        return found, self.compared

    def _has_channels(self) -> bool:
        return any(part.kind is Kind.CHANNELS for part in self.parts)

    def _found(self, levels: Mapping[str, Mapping[int, Level]], trial: Callable[[Mapping[str, int]], float]) -> Found | None:
        """Return the best choice that fits; None: none does."""
        room, rounds = self.budget - self.costs.rest, self._rounds()
        if self.costs.settle is not None:
            self._begin_settled(levels, room)
        for _ in range(_SETTLINGS):
            found = search(self.offered(levels), room, trial, rounds=rounds, seed=self.setting.seed)
            if self.costs.settle is None:
                return found
            if found is None:
                break
            self.costs.settle(found.chosen)
            needed = self.costs.total(self.parts, found.chosen) - self.costs.rest
            if needed <= self.budget - self.costs.rest:
                return replace(found, chosen=self._filled(levels, found.chosen))
            room *= 0.99 * (self.budget - self.costs.rest) / needed
        chosen = self._filled(levels, _uniform(self.parts, levels, self.costs, self.budget))
        return Found(chosen, trial(chosen), 1)

    def _rounds(self) -> int:
        """Return how many choices are judged."""
        return self.options.search_rounds or self._as_often(len(self.samples), most=_ROUNDS, least=_FEWEST_ROUNDS)

    def _as_often(self, samples: int, *, most: int, least: int) -> int:
        """Return how often `samples` can be run for a fixed amount of work, however fast the machine is."""
        return int(min(max(_WORK_MACS / max(macs(self.model, self.samples.collate([0])) * samples, 1), least), most))

    def _begin_settled(self, levels: Mapping[str, Mapping[int, Level]], room: float) -> None:
        """Settle the costs at the widths of a choice that fits."""
        for _ in range(_SETTLINGS):
            first = choose(self.offered(levels), room)
            if first is None:  # layers between two parts cost too much beside a wide neighbour: begin with all parts narrow
                _uniform(self.parts, levels, self.costs, self.budget)
                return
            self.costs.settle(first)  # type: ignore[misc]  # (called only where it is not None)

    def _filled(self, levels: Mapping[str, Mapping[int, Level]], chosen: Mapping[str, int]) -> dict[str, int]:
        """Return the choice with room that it left in the budget given back, first where that lowers the error most."""
        counts = dict(chosen)
        for _ in range(sum(map(len, levels.values()))):
            steps = {name: min((more for more in found if more > counts[name]), default=0) for name, found in levels.items()}
            gains = {name: levels[name][counts[name]].error - levels[name][more].error for name, more in steps.items() if more}
            for name in sorted(gains, key=lambda name: -gains[name]):
                wider = {**counts, name: steps[name]}
                self.costs.settle(wider)  # type: ignore[misc]  # (called only where it is not None)
                if self.costs.total(self.parts, wider) <= self.budget:
                    counts = wider
                    break
            else:
                break
        self.costs.settle(counts)  # type: ignore[misc]
        return counts

    def offered(self, levels: Mapping[str, Mapping[int, Level]]) -> dict[str, list[Option]]:
        """Return the versions with their errors and costs, by part."""
        return {
            part.name: [Option(count, self.costs.of(part, count), level.error) for count, level in levels[part.name].items()]
            for part in self.parts
        }


def importance_of(options: PruneOptions) -> str:
    """Return how the units of parts are ranked: "obs" or one of `edgeopt.prune.importance.levels.SCORES`.

    Raises:
        RecipeError: the options name an importance of batch normalisations.
    """
    if options.importance == "norm-scale":
        raise RecipeError("prune.importance 'norm-scale' is for batch normalisations, which transformers lack")
    return "obs" if options.importance == "auto" else options.importance


def _wanted(part: Part, options: PruneOptions) -> bool:
    return {Kind.HEADS: options.heads, Kind.NEURONS: options.neurons}.get(part.kind, True)


def grid_of(model: nn.Module, parts: Sequence[Part], step: int, *, most_removed: float = 1.0) -> dict[str, list[int]]:
    """Return how many units may be left of each part: every number of heads, and multiples of `step` neurons or channels.

    Of a part's channels at most the share `most_removed` goes.
    """
    each = sum(rows_of(model.get_submodule(cut.layer)).numel() * 4 for part in parts for cut in part.readers)
    most = int(min(_LEVELS, max(4, _MOST_BYTES / max(1, each))))
    grid = {}
    for part in parts:
        if part.kind is Kind.HEADS and part.units <= 2 * most:
            counts = set(range(part.least, part.units))
        else:
            shares = [part.units * place / most for place in range(most)]
            width = step if part.kind is not Kind.HEADS and part.units >= 2 * step else 1
            counts = {round(share / width) * width for share in shares}
            if part.kind is Kind.CHANNELS:
                counts = {count for count in counts if count >= (1 - most_removed) * part.units}
            else:
                counts |= {part.least}
        grid[part.name] = sorted(count for count in counts if part.least <= count < part.units)
    return grid


def _given(parts: Sequence[Part], units: Mapping[str, int]) -> dict[str, list[int]]:
    """Return the one number of units that is left of each part, where it is not whole.

    Raises:
        RecipeError: a part does not exist, or cannot have that many units.
    """
    known = {part.name: part for part in parts}
    for name, count in units.items():
        if name not in known:
            raise RecipeError(f"prune.units: the model has no part '{name}'{nearest(name, known)}; it has: {', '.join(known)}")
        part = known[name]
        if not part.least <= count <= part.units:
            raise RecipeError(f"prune.units: '{name}' can have {part.least} to {part.units} {part.kind.value}, not {count}")
    return {part.name: [units[part.name]] if units.get(part.name, part.units) < part.units else [] for part in parts}


def check_reachable(
    parts: Sequence[Part], costs: Costs, budget: float, *, fewest: Mapping[str, int], whole: float, asked: str
) -> None:
    """Check that the smallest model fits into the budget.

    Raises:
        ModelError: it does not; the message says what can be reached.
    """
    least = least_cost(parts, costs, fewest)
    if least <= budget:
        return
    digits = ",.0f" if whole >= 1000 else ",.4g"
    channels = any(part.kind is Kind.CHANNELS for part in parts)
    stays = "" if channels else ", ".join(f"'{part.name}'" for part in parts if part.least)[:200]
    raise ModelError(
        f"{asked} cannot be reached: with the fewest units {least:{digits}} {costs.unit} are left of "
        f"{whole:{digits}}, "
        f"{least / whole:.3f}x, {least - budget:{digits}} more than allowed; give at least {least / whole + 0.005:.2f}x, or "
        + ("raise max_layer_share" if channels else "remove whole layers first (drop_layers)")
        + (f"; at least one unit stays in {stays}" if stays else "")
    )


def least_cost(parts: Sequence[Part], costs: Costs, fewest: Mapping[str, int]) -> float:
    """Return what the smallest model costs."""
    if costs.settle is not None:
        costs.settle(fewest)
    least = costs.total(parts, fewest)
    if costs.settle is not None:
        costs.settle({part.name: part.units for part in parts})
    return least


def _uniform(parts: Sequence[Part], levels: Mapping[str, Mapping[int, Level]], costs: Costs, budget: float) -> dict[str, int]:
    """Return the largest same share of every part that fits the budget, the fewest units if none does; costs settle there."""

    def at(share: float) -> dict[str, int]:
        fitting = {name: [count for count in levels[name] if count <= share * units + 1e-9] for name, units in whole.items()}
        return {name: max(counts, default=min(levels[name])) for name, counts in fitting.items()}

    def fits(counts: Mapping[str, int]) -> bool:
        if costs.settle is not None:
            costs.settle(counts)
        return costs.total(parts, counts) <= budget

    whole = {part.name: part.units for part in parts}
    choices = [at(1 - place / 100) for place in range(101)]
    chosen = choices[min(bisect_left(choices, True, key=fits), len(choices) - 1)]
    if costs.settle is not None:
        costs.settle(chosen)
    return chosen


class Trial:
    """Judges choices of versions: puts their weights into the model and asks how far its outputs are off."""

    def __init__(
        self, model: nn.Module, parts: Sequence[Part], levels: Mapping[str, Mapping[int, Level]], judge: Judge
    ) -> None:
        self.model, self.parts, self.levels, self.judge = model, parts, levels, judge
        self.whole = {cut.layer: rows_of(model.get_submodule(cut.layer)).clone() for part in parts for cut in part.readers}
        offsets = {name: offset for one in levels.values() for level in one.values() for name, offset in level.offsets.items()}
        self.biases = {name: (offset, bias_of(model, offset)) for name, offset in offsets.items()}

    def __call__(self, chosen: Mapping[str, int]) -> float:
        """Return what the judge says of the model whose parts have this many units."""
        self._restore_biases()
        apply_levels(self.model, self.parts, self.levels, chosen, whole=self.whole)
        return self.judge()

    def restore(self) -> None:
        """Put the whole model's weights back."""
        for name, rows in self.whole.items():
            set_rows(self.model.get_submodule(name), rows)
        self._restore_biases()

    def _restore_biases(self) -> None:
        for offset, bias in self.biases.values():
            set_bias(self.model, offset, bias)


def reactions(
    parts: Sequence[Part], levels: Mapping[str, Mapping[int, Level]], trial: Callable[[Mapping[str, int]], float]
) -> dict[str, dict[int, float]]:
    """Return for every part, by the units that are left, what its absence alone changes at the model's outputs.

    A version's own error is that of the part's output. It is multiplied by how strongly the outputs react to this part, which
    is tried at two versions, half and least, and interpolated between.
    """
    whole = {part.name: part.units for part in parts}
    found: dict[str, dict[int, float]] = {}
    with progress.task("sensitivity", total=len(parts)) as advance:
        for part in parts:
            own = {count: level.error for count, level in levels[part.name].items()}
            fewer = sorted(count for count in own if count < part.units)
            tried = {count: trial({**whole, part.name: count}) for count in {*fewer[:1], *fewer[len(fewer) // 2 :][:1]}}
            known = sorted((own[count], change / max(own[count], _LEAST_ERROR)) for count, change in tried.items())
            at, factors = [error for error, _ in known], [factor for _, factor in known]
            found[part.name] = {
                count: error * float(np.interp(error, at, factors)) if known else 0.0 for count, error in own.items()
            }
            advance()
    return found


def apply_levels(
    model: nn.Module,
    parts: Sequence[Part],
    levels: Mapping[str, Mapping[int, Level]],
    chosen: Mapping[str, int],
    *,
    whole: Mapping[str, Tensor] | None = None,
) -> None:
    """Set the readers' weights to those of the chosen versions; a layer that reads several parts has the changes for all.

    Args:
        model: whole, or changed by earlier choices.
        parts: the parts.
        levels: their versions.
        chosen: how many units are left of each.
        whole: the readers' weights in the whole model; None: `model` has them. It has the whole model's biases in any case.
    """
    readers: dict[str, dict[str, Part]] = {}
    for part in parts:
        for cut in part.readers:
            readers.setdefault(cut.layer, {})[part.name] = part
    for name, reading in readers.items():
        layer = model.get_submodule(name)
        before = rows_of(layer).clone() if whole is None else whole[name]
        versions = [(part, levels[part.name][chosen[part.name]]) for part in reading.values()]
        changes = [(part, level) for part, level in versions if name in level.rows]
        rows = before if not changes else changes[0][1].rows[name] if len(changes) == 1 else _joined(name, before, changes)
        set_rows(layer, rows)
        offset = changes[0][1].offsets.get(name) if changes else None
        if offset is not None:
            set_bias(model, offset, bias_of(model, offset), rows - before)


def _joined(name: str, whole: Tensor, changes: Sequence[tuple[Part, Level]]) -> Tensor:
    """Return the rows of a layer that reads several parts: the sum of the changes for each, zeros for all units that went."""
    rows = whole + torch.stack([level.rows[name] - whole for _, level in changes]).sum(0)
    for part, level in changes:
        gone = set(range(part.units)) - set(level.kept)
        for cut in part.readers:
            if cut.layer == name:
                rows[:, cut.columns(gone)] = 0
    return rows
