"""Costs of channels: of every layer that a part narrows, by how many inputs and outputs it has left.

A layer between two parts is narrowed by both. Its cost counts half for each, at the width that the other had in the last
choice, so that the sum over the parts is right once the choice no longer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from edgeopt.batches import Batch
from edgeopt.models.kept import width
from edgeopt.models.size import macs, parameters
from edgeopt.prune.allocation.costs import Costs
from edgeopt.prune.structure.parts import Part
from edgeopt.prune.surgery import outputs_of

LayerCost = Callable[[str, int, int], float]
"""Returns the cost of a layer, by its name, with this many inputs and outputs."""


@dataclass(frozen=True)
class Prices:
    """What the layers of a network cost.

    Attributes:
        unit: what the costs are in.
        of: cost of a layer.
        whole: cost of the whole network.
        prepare: told the layers, with their sizes, whose costs are asked for next; None: all are known.
    """

    unit: str
    of: LayerCost
    whole: float
    prepare: Callable[[set[tuple[str, int, int]]], None] | None = None


def layer_mac_costs(model: nn.Module, parts: Sequence[Part], sample: Batch) -> Costs:
    """Return the multiply-accumulates of every part's layers on `sample`."""
    whole = _macs_by_layer(model, sample)
    cost = _proportional(model, whole)
    return layer_costs(model, parts, Prices("multiply-accumulates", cost, macs(model, sample)))


def layer_parameter_costs(model: nn.Module, parts: Sequence[Part], _: Batch) -> Costs:
    """Return the parameters of every part's layers; those of norms between them count as fixed."""
    whole = {name: float(layer.weight.numel()) for name, layer in products(model).items()}  # type: ignore[operator]
    return layer_costs(model, parts, Prices("parameters", _proportional(model, whole), parameters(model)))


def layer_costs(
    model: nn.Module, parts: Sequence[Part], prices: Prices, *, grid: Mapping[str, Sequence[int]] | None = None
) -> Costs:
    """Return costs of parts out of those of layers.

    Args:
        model: the whole network.
        parts: what may be removed of it.
        prices: of its layers.
        grid: how many units may be left of each part.
    """
    sizes = _Sizes(model, parts)
    names = [name for name in sizes.sides if name in products(model)]
    current = {part.name: part.units for part in parts}
    touching = {name: {part.name for part in parts if name in part.layers()} for name in names}

    def of(part: Part, count: int) -> float:
        counts = {**current, part.name: count}
        own = [name for name in names if part.name in touching[name]]
        return sum(prices.of(name, *sizes.of(name, counts)) / len(touching[name]) for name in own)

    def needed() -> set[tuple[str, int, int]]:
        return {
            (name, *sizes.of(name, {**current, part.name: count}))
            for part in parts
            for count in (*(grid or {}).get(part.name, ()), part.units, current[part.name])
            for name in names
            if part.name in touching[name]
        }

    def settle(counts: Mapping[str, int]) -> None:
        current.update(counts)
        if prices.prepare is not None:
            prices.prepare(needed())

    settle({})
    rest = prices.whole - sum(of(part, part.units) for part in parts)
    shared = any(len(found) > 1 for found in touching.values())
    return Costs(prices.unit, rest, of, settle=settle if shared else None)


def products(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers of `model`."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}


class _Sizes:
    """Inputs and outputs of layers by how many units of every part are left."""

    def __init__(self, model: nn.Module, parts: Sequence[Part]) -> None:
        self.whole = {name: (_side(layer, "in"), _side(layer, "out")) for name, layer in products(model).items()}
        self.sides: dict[str, list[tuple[str, int, Part]]] = {}
        for part in parts:
            for cut in part.cuts():
                self.sides.setdefault(cut.layer, []).append((cut.side, cut.width * len(cut.starts), part))

    def of(self, name: str, counts: Mapping[str, int]) -> tuple[int, int]:
        """Return the inputs and outputs of a layer; a depthwise convolution's are the same."""
        inputs, outputs = self.whole[name]
        for side, size, part in self.sides[name]:
            gone = size * (part.units - counts[part.name])
            inputs, outputs = (inputs - gone, outputs) if side == "in" else (inputs, outputs - gone)
        return (inputs or outputs), outputs  # (a depthwise convolution has no side "in" of its own)


def _side(layer: nn.Module, side: Any) -> int:
    return width(layer, side) or 0


def _proportional(model: nn.Module, whole: Mapping[str, float]) -> LayerCost:
    """Return costs that are proportional to inputs and outputs, of a depthwise convolution to its channels."""
    layers = products(model)

    def cost(name: str, inputs: int, outputs: int) -> float:
        layer = layers[name]
        share = outputs / max(1, _side(layer, "out"))
        if getattr(layer, "groups", 1) == 1:
            share *= inputs / max(1, _side(layer, "in"))
        return whole.get(name, 0.0) * share

    return cost


def _macs_by_layer(model: nn.Module, sample: Batch) -> dict[str, float]:
    with FlopCounterMode(display=False, depth=99) as counter:
        outputs_of(model, sample)
    prefix = f"{type(model).__name__}."
    counts = counter.get_flop_counts()
    return {name.removeprefix(prefix): sum(found.values()) / 2 for name, found in counts.items() if name.startswith(prefix)}
