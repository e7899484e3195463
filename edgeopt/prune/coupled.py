"""Channels of any network as parts: layers whose channels must agree, found by torch-pruning's dependency graph.

    conv ─ norm ─ activation ─▶ channels ─▶ next convolutions and linear layers

DepGraph (https://arxiv.org/abs/2301.12900) says which channels of which layers go together; halves of a `chunk` go together,
too, so that they stay halves. Each part is then proven: one unit is cut, and the network's outputs must be those with that
unit masked. Where that fails the graph was misread (chunks beside concatenations, as in C2f), and `edgeopt.prune.probing` looks
where channels arrive instead. What fails again, or holds a layer whose channels influence each other (layer and group norms,
attention), stays whole, with the reason.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch_pruning
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from edgeopt.batches import Batch
from edgeopt.errors import InternalError, ModelError
from edgeopt.models.call import to_tensors
from edgeopt.models.kept import Side, is_depthwise, width
from edgeopt.prune.heads import heads
from edgeopt.prune.probing import Place, mixes, reach_of, sources
from edgeopt.prune.pruners import keep_shared_weights
from edgeopt.prune.structure.anatomy import ignored
from edgeopt.prune.structure.parts import Cut, Kind, Part
from edgeopt.prune.surgery import Choice, operate

_ROOTS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)
_POINTWISE = (_BatchNorm, _InstanceNorm, nn.PReLU)
_FAILURES = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError, ModelError, InternalError)


@dataclass(frozen=True)
class Coupled:
    """Parts whose units are channels, and layers that stay whole, by name, with the reason."""

    parts: tuple[Part, ...]
    spared: Mapping[str, str]


class _NoPartError(Exception):
    """A group of layers cannot be a part; the message says why."""


def coupled_channels(model: nn.Module, sample: Batch, *, ignore: Sequence[str] = ()) -> Coupled:
    """Return the channels of `model` that can be removed, proven on `sample`.

    Raises:
        RecipeError: a pattern of `ignore` matches no layer.
        ModelError: the network's graph cannot be traced, or none of its channels can be removed.
    """
    found = _Found(model, sample, ignored(model, ignore))
    misread = found.by_graph()
    if misread:
        found.by_probing()
    if not found.parts:
        reasons = (
            "; ".join(f"'{name}': {reason}" for name, reason in found.spared.items()) or "no layer lies between two others"
        )
        raise ModelError(f"{type(model).__name__}: no channels can be removed: {reasons[:400]}")
    return Coupled(tuple(found.parts), found.spared)


class _Found:
    """Parts that were proven, and the layers that stay whole."""

    def __init__(self, model: nn.Module, sample: Batch, kept: set[str]) -> None:
        self.model, self.sample, self.kept = model, sample, kept
        self.layers = dict(model.named_modules())
        self.parts: list[Part] = []
        self.spared: dict[str, str] = {}

    def by_graph(self) -> bool:
        """Take the groups of the dependency graph; return whether it misread some, which a cut showed."""
        names, misread = {layer: name for name, layer in self.layers.items()}, False
        for root, group, graph in _groups(self.model, self.sample):
            name = names[root]
            try:
                misread |= not self._take(name, _places(group, graph, names))
            except _NoPartError as reason:
                self.spared[name] = str(reason)
        return misread

    def by_probing(self) -> None:
        """Take the groups of layers without a part that probing finds."""
        outputs = set(heads(self.model, self.sample))
        writers = [name for name, layer in self.layers.items() if mixes(layer) and layer not in outputs and width(layer, "out")]
        try:
            reach = reach_of(self.model, self.sample, writers)
        except _FAILURES:  # such as a layer that is given its input by name: what the graph said stays
            return
        for name, places in sources(reach).items():
            taken = {cut.layer for part in self.parts for cut in part.writers}
            members = [layer for layer, side in places if side == "out" and layer in reach]
            if taken & set(members):
                continue
            mixed = next((reach[layer].mixed for layer in members if reach[layer].mixed), "")
            try:
                if mixed or any(-1 in channels for channels in places.values()):
                    raise _NoPartError(f"several of them arrive as one at {mixed or 'a layer with fewer'}")
                self._take(name, places)
            except _NoPartError as reason:
                self.spared.setdefault(name, str(reason))

    def _take(self, name: str, places: Mapping[Place, Mapping[int, set[int]]]) -> bool:
        """Prove the part that `places` are and keep it; return whether it held."""
        part = _part(name, places, self.layers)
        if self.kept & set(part.layers()):
            return True
        try:
            _prove(self.model, part, self.sample)
        except _FAILURES as error:
            said = " ".join(str(error).split())[:120]
            self.spared[name] = f"the network does not give the same without one of them ({said})"
            return False
        self.parts.append(part)
        for cut in part.writers:
            self.spared.pop(cut.layer, None)
        return True


def _groups(model: nn.Module, sample: Batch) -> Iterator[tuple[nn.Module, Any, Any]]:
    """Yield the layers that compute channels, each with the layers whose channels must agree with its own."""
    frozen = [value for value in model.parameters() if not value.requires_grad and value.is_floating_point()]
    for value in frozen:  # the tracing follows gradients
        value.requires_grad_(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = torch_pruning.DependencyGraph()
            given = to_tensors(sample)
            graph.build_dependency(model, given, forward_fn=lambda traced, inputs: traced(**inputs))
            outputs = heads(model, sample)
            keep_shared_weights(graph, outputs, _ROOTS)
            for group in graph.get_all_groups(ignored_layers=outputs, root_module_types=_ROOTS):
                yield group[0].dep.target.module, group, graph
    except _FAILURES as error:
        said = " ".join(str(error).split())[:160]
        raise ModelError(
            f"{type(model).__name__}: its dependency graph cannot be traced ({said}); use importance=magnitude"
        ) from error
    finally:
        for value in frozen:
            value.requires_grad_(False)


def _places(group: Any, graph: Any, names: Mapping[nn.Module, str]) -> dict[Place, dict[int, set[int]]]:
    """Return the sides of layers in a group of the dependency graph, with their channels by those of its root."""
    found: dict[Place, dict[int, set[int]]] = {}
    for item in group:
        layer = item.dep.target.module
        if layer not in names:
            if isinstance(layer, nn.Parameter):
                raise _NoPartError("a parameter of its own depends on them")
            continue
        side = _side(layer, out=graph.is_out_channel_pruning_fn(item.dep.handler))
        places = found.setdefault((names[layer], side), {})
        for place, source in zip(item.idxs, item.root_idxs, strict=True):
            places.setdefault(source, set()).add(place)
    return found


def _part(name: str, places: Mapping[Place, Mapping[int, set[int]]], layers: Mapping[str, nn.Module]) -> Part:
    """Return the part whose channels the layer `name` computes."""
    channels = width(layers[name], "out")
    if not channels:
        raise _NoPartError(f"the outputs of {type(layers[name]).__name__} cannot be cut")
    units = _units(channels, list(places.values()))
    cuts = [_cut(layer, side, found, channels, units, layers[layer]) for (layer, side), found in places.items()]
    readers = tuple(cut for cut in cuts if cut.side == "in")
    if not readers:
        raise _NoPartError("no layer reads them")
    return Part(name, Kind.CHANNELS, units, tuple(cut for cut in cuts if cut.side == "out"), readers)


def _side(layer: nn.Module, *, out: bool) -> Side:
    """Return the side that is cut, of a layer that treats its channels one by one the only one."""
    if isinstance(layer, _POINTWISE):
        return "out"
    if isinstance(layer, _ConvNd) and layer.groups > 1:
        if is_depthwise(layer):
            return "out"
        raise _NoPartError(f"a convolution of {layer.groups} groups depends on them")
    if isinstance(layer, _ROOTS):
        return "out" if out else "in"
    raise _NoPartError(f"a layer of class {type(layer).__name__} depends on them")


def _units(channels: int, members: Sequence[Mapping[int, set[int]]]) -> int:
    """Return how many units the channels are: fewer than channels where some layers see only a part of them (chunks)."""
    edges = {0, channels}
    for places in members:
        sources = sorted(places)
        if sources != list(range(sources[0], sources[-1] + 1)):
            raise _NoPartError("layers take channels that do not lie side by side")
        edges |= {sources[0], sources[-1] + 1}
    units = min(b - a for a, b in zip(sorted(edges)[:-1], sorted(edges)[1:], strict=True))
    if any(edge % units for edge in edges):
        raise _NoPartError("they are split into parts of different sizes")
    return units


def _cut(  # noqa: PLR0917
    name: str, side: Side, places: Mapping[int, set[int]], channels: int, units: int, layer: nn.Module
) -> Cut:
    """Return the channels of one side of a layer by unit: those of unit u are those of unit 0, moved by u times a width."""
    of_unit = [
        sorted({place for source in range(unit, channels, units) for place in places.get(source, ())}) for unit in range(units)
    ]
    first = set(of_unit[0])
    starts = sorted(place for place in first if place - 1 not in first)
    size = len(first) // len(starts) if starts else 0
    expected = [sorted(start + unit * size + inner for start in starts for inner in range(size)) for unit in range(units)]
    if not size or of_unit != expected:
        raise _NoPartError(f"'{name}' has them in an order that is not known")
    kernel = 1
    if side == "in" and isinstance(layer, _ConvNd) and not layer.transposed:
        kernel = layer.weight[0, 0].numel()
    return Cut(name, side, size, tuple(starts), kernel)


def _prove(model: nn.Module, part: Part, sample: Batch) -> None:
    """Cut one unit of a copy and compare its outputs with those of the masked model; what that raises says what is wrong."""
    if part.units < 2:
        raise _NoPartError("it has one channel")
    operate(copy.deepcopy(model), [Choice(part, tuple(range(1, part.units)))], sample)
