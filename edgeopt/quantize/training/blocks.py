"""Where a network is cut for training block by block: between two steps, where few rounded tensors are alive.

    … → Add → ┊ → Q → DQ → Conv → … → Conv → Add → ┊ → Q → DQ → …

A good place has one tensor that later steps read and that the floating-point model has, too: behind a residual Add, or in a
chain. Tensors that no rounding has reached, such as an attention mask, do not count. Where a network has no such place for many
layers, it is cut where fewest tensors are alive.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import onnx_ir as ir
from torch import nn

from edgeopt.graph.matching import constant, is_float, name_of
from edgeopt.quantize.training.graph_module import GraphModule
from edgeopt.quantize.training.grids import Bias, Grid

_T = TypeVar("_T")
_FEWEST, _MOST = 3, 8
"""Layers with rounded weights in a block: smaller ones are joined, larger ones cut again."""


@dataclass(frozen=True)
class Block:
    """Steps that are trained together."""

    steps: range
    constants: tuple[int, ...]
    """Those of the steps that give rounded weights and biases, the same for all samples."""
    outputs: tuple[str, ...]
    """Tensors it makes for later steps that the floating-point model has by the same names."""
    weights: tuple[tuple[nn.Parameter, Grid], ...]
    biases: tuple[Bias, ...]
    grids: tuple[Grid, ...]
    floats: tuple[nn.Parameter, ...]


@dataclass(frozen=True)
class _Place:
    """Before step `position`: how many rounded tensors are alive, and which of them the floating-point model has."""

    position: int
    alive: int
    names: tuple[str, ...]


def blocks_of(module: GraphModule, floating: ir.Model) -> list[Block]:
    """Return the blocks of a module in the order of its steps.

    Args:
        module: the network.
        floating: the floating-point model, whose tensors are what blocks are trained towards.
    """
    makers = {name_of(value): node.op_type for node in floating.graph for value in node.outputs}
    places = list(_places(module, makers))
    layers = [module.weight_of(step.node) is not None for step in module.steps]
    cuts = _cuts(places, layers, range(len(layers)))
    bounds = [0, *cuts, len(layers)]
    taken: set[int] = set()
    return [_block(module, range(*pair), places, taken) for pair in itertools.pairwise(bounds)]


def whole(module: GraphModule) -> Block:
    """Return all of a module as one block."""
    return _block(module, range(len(module.steps)), (), set())


def _places(module: GraphModule, makers: Mapping[str, str]) -> Iterator[_Place]:
    """Yield the places behind each step that makes a tensor which an operator of the same kind makes in floating point.

    (What a Relu gives there may be what the layer before it gives here: rounding to unsigned integers has its effect.)
    """
    rounded: set[ir.Value] = set()
    alive: dict[ir.Value, None] = {}
    last = set(module.outputs)
    for number, step in enumerate(module.steps):
        reached = step.node.op_type == "QuantizeLinear" or any(value in rounded for value in step.node.inputs)
        for value in step.node.outputs:
            if reached and constant(value) is None:
                rounded.add(value)
                alive[value] = None
        for value in step.done:
            alive.pop(value, None)
        names = tuple(name_of(value) for value in alive if _comparable(value, makers))
        if any(value.name in names for value in step.node.outputs) and not alive.keys() & last:
            yield _Place(number + 1, len(alive), names)


def _comparable(value: ir.Value, makers: Mapping[str, str]) -> bool:
    producer = value.producer()
    return producer is not None and is_float(value) and makers.get(name_of(value)) == producer.op_type


def _cuts(places: Sequence[_Place], layers: Sequence[bool], steps: range) -> list[int]:
    """Return where to cut: wherever one tensor is alive, then blocks that are still large where fewest are."""
    single = [place for place in places if place.alive == 1]
    found: list[int] = []
    start = steps.start
    for place in single:
        if sum(layers[start : place.position]) >= _FEWEST and sum(layers[place.position : steps.stop]) > 0:
            found.append(place.position)
            start = place.position
    bounds = [steps.start, *found, steps.stop]
    for part in itertools.pairwise(bounds):
        found += _divided(places, layers, range(*part))
    return sorted(found)


def _divided(places: Sequence[_Place], layers: Sequence[bool], steps: range) -> list[int]:
    """Return cuts of a large block, by halves."""
    if sum(layers[steps.start : steps.stop]) <= _MOST:
        return []
    inside = [
        place
        for place in places
        if place.position in steps
        and min(sum(layers[steps.start : place.position]), sum(layers[place.position : steps.stop])) >= _FEWEST
    ]
    if not inside:
        return []
    half = sum(layers[steps.start : steps.stop]) / 2
    best = min(inside, key=lambda place: (place.alive, abs(sum(layers[steps.start : place.position]) - half)))
    parts = range(steps.start, best.position), range(best.position, steps.stop)
    return [best.position, *(cut for part in parts for cut in _divided(places, layers, part))]


def _block(module: GraphModule, steps: range, places: Sequence[_Place], taken: set[int]) -> Block:
    """Return the block of some steps; a parameter that several blocks read belongs to the first."""
    nodes = [module.steps[number].node for number in steps]
    place = next((place for place in places if place.position == steps.stop), None)
    made = {name_of(value) for node in nodes for value in node.outputs}
    names = place.names if place is not None else tuple(name_of(value) for value in module.outputs if is_float(value))

    weights: dict[int, tuple[nn.Parameter, Grid]] = {}
    for pair in filter(None, map(module.weight_of, nodes)):
        if id(pair[0]) not in taken:
            weights[id(pair[0])] = pair
    taken.update(weights)
    return Block(
        steps,
        tuple(number for number, node in zip(steps, nodes, strict=True) if module.weight_of(node) or module.bias_of(node)),
        tuple(name for name in names if name in made),
        tuple(weights.values()),
        tuple(_own(map(module.bias_of, nodes), taken)),
        tuple(_own([*map(module.grid_of, nodes), *(grid for _, grid in weights.values())], taken)),
        tuple(_own((value for node in nodes for value in module.floats_of(node)), taken)),
    )


def _own(found: Iterable[_T | None], taken: set[int]) -> list[_T]:
    """Return each item once that no earlier block has taken."""
    fresh = {id(item): item for item in found if item is not None and id(item) not in taken}
    taken.update(fresh)
    return list(fresh.values())
