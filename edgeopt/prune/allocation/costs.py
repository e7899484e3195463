"""What the units of a part cost: parameters, multiply-accumulates, or milliseconds from a latency table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeopt.batches import Batch
from edgeopt.models.size import macs, parameters
from edgeopt.prune.importance.magnitude import sum_over_cuts
from edgeopt.prune.structure.heads import is_linear, linear_sizes
from edgeopt.prune.structure.parts import Cut, Kind, Part
from edgeopt.prune.surgery import outputs_of

_ACTIVATIONS = ("bmm", "baddbmm", "attention")
"""Operators that multiply two activations."""


@dataclass(frozen=True)
class Costs:
    """The costs of a model: `rest` for what is no part of it, and those of parts by the number of units left.

    Attributes:
        unit: what they are in, such as "ms".
        rest: of everything else.
        of: cost of a part with this many units.
        settle: tells `of` how many units the parts have whose layers others share; None: no layer lies between two parts.
        measured: cost of the whole model where it was measured, which a share of it is a share of; None: it is the sum.
    """

    unit: str
    rest: float
    of: Callable[[Part, int], float]
    measured: float | None = None
    settle: Callable[[Mapping[str, int]], None] | None = None

    def whole(self, parts: Sequence[Part]) -> float:
        """Return the cost of the model with all units."""
        return self.total(parts, {part.name: part.units for part in parts}) if self.measured is None else self.measured

    def total(self, parts: Sequence[Part], counts: Mapping[str, int]) -> float:
        """Return the cost of the model whose parts have this many units."""
        return self.rest + sum(self.of(part, counts[part.name]) for part in parts)


def parameter_costs(model: nn.Module, parts: Sequence[Part]) -> Costs:
    """Return the parameters of every unit."""
    each = {part.name: _per_unit(model, part) for part in parts}
    rest = parameters(model) - sum(each[part.name] * part.units for part in parts)
    return Costs("parameters", rest, lambda part, count: each[part.name] * count)


def mac_costs(model: nn.Module, parts: Sequence[Part], sample: Batch) -> Costs:
    """Return the multiply-accumulates of every unit on `sample`: its linear layers', and its share of the attentions' own."""
    rows = _rows(model, {layer for part in parts for layer in part.layers()}, sample)
    linear = {part.name: sum(_macs_of_cut(model, cut, rows) for cut in part.cuts()) for part in parts}
    whole = macs(model, sample)
    own = _attention_macs(model, sample)
    queries = {part.name: part.readers[0].width * part.units * len(part.readers) for part in parts if part.kind is Kind.HEADS}
    each = {
        part.name: linear[part.name] + own * queries.get(part.name, 0) / max(1, sum(queries.values())) / part.units
        for part in parts
    }
    rest = whole - sum(each[part.name] * part.units for part in parts)
    return Costs("multiply-accumulates", rest, lambda part, count: each[part.name] * count)


def _per_unit(model: nn.Module, part: Part) -> float:
    seen: set[int] = set()

    def ones(weight: Tensor) -> Tensor:
        key = id(weight)
        if key in seen and len(part.writers) > 3:
            return torch.zeros_like(weight)
        seen.add(key)
        return torch.ones_like(weight)

    return float(sum_over_cuts(model, part.cuts(), part.units, ones)[0])


def _rows(model: nn.Module, layers: set[str], sample: Batch) -> dict[str, int]:
    """Return how many rows each of the `layers` multiplies, over all its uses."""
    counts: dict[str, int] = dict.fromkeys(layers, 0)
    hooks = []
    modules = dict(model.named_modules())
    for name in layers & set(modules):

        def add(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
            counts[name] += given[0].numel() // given[0].shape[-1] if given else 0

        hooks.append(modules[name].register_forward_pre_hook(add))
    try:
        outputs_of(model, sample)
    finally:
        for hook in hooks:
            hook.remove()
    return counts


def _macs_of_cut(model: nn.Module, cut: Cut, rows: Mapping[str, int]) -> float:
    """Return what one unit's channels of a linear layer take, over all its uses."""
    layer = dict(model.named_modules()).get(cut.layer)
    if layer is None or not is_linear(layer):
        return 0.0
    inputs, outputs = linear_sizes(layer)
    return float(rows[cut.layer] * cut.width * len(cut.starts) * (inputs if cut.side == "out" else outputs))


def _attention_macs(model: nn.Module, sample: Batch) -> float:
    """Return the multiply-accumulates of products of two activations."""
    with FlopCounterMode(display=False) as counter:
        outputs_of(model, sample)
    counts = counter.get_flop_counts().get("Global", {})
    chosen = [count for operator, count in counts.items() if any(name in str(operator) for name in _ACTIVATIONS)]
    return float(sum(chosen)) / 2
