"""Which layers read which channels of a layer, found by changing channels and looking at what changes.

    writer ── anything: activations, sums, chunks, concatenations, shuffles ──▶ readers

Graphs say that only as far as their operators are known. Here a channel's values are changed on their way out of a layer, and
every layer notes which of its input channels changed. Layers that mix channels then answer as if nothing had changed, so that
a change ends where it is read. Not every channel is tried alone: in run b all channels change whose number has bit b set, and
in another run all others, so that each input channel spells out the number of the one channel that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from edgeopt.batches import Batch
from edgeopt.models.kept import Side, is_depthwise, width
from edgeopt.prune.surgery import outputs_of

Place = tuple[str, Side]
"""One side of a layer."""


@dataclass
class Reach:
    """Where the channels of one layer arrive: by place, the channel of the layer that each channel there comes from.

    `mixed` names a layer, or an output of the model, where several channels arrive as one; "" if there is none.
    """

    places: dict[Place, dict[int, int]] = field(default_factory=dict)
    mixed: str = ""


def reach_of(model: nn.Module, sample: Batch, writers: Sequence[str]) -> dict[str, Reach]:
    """Return where the channels of each of `writers` arrive when `model` is run on `sample`."""
    probe = _Probe(model, sample)
    return {name: probe.reach(name) for name in writers}


def mixes(layer: nn.Module) -> bool:
    """Return whether each output of `layer` depends on several of its inputs."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, _ConvNd) and not is_depthwise(layer))


class _Probe:
    """Runs a model with some channels of one layer changed."""

    def __init__(self, model: nn.Module, sample: Batch) -> None:
        self.model, self.sample = model, sample
        pointwise = (_BatchNorm, _InstanceNorm, nn.PReLU)
        self.layers = {
            name: layer
            for name, layer in model.named_modules()
            if mixes(layer) or isinstance(layer, pointwise) or (isinstance(layer, _ConvNd) and is_depthwise(layer))
        }
        self.inputs: dict[tuple[str, int], Tensor] = {}
        self.answers: dict[tuple[str, int], Tensor] = {}
        self.outputs = self._run(None, None)

    def reach(self, writer: str) -> Reach:
        """Return where the channels of the layer `writer` arrive."""
        channels = width(self.layers[writer], "out") or 0
        numbers = torch.arange(channels)
        seen: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        clean = True
        for bit in range(max(1, (channels - 1).bit_length())):
            runs = [self._changed(writer, (numbers >> bit & 1) == value) for value in (1, 0)]
            for key in {*runs[0], *runs[1]}:
                one, other = (found.get(key) for found in runs)
                size = len(one if one is not None else other)  # type: ignore[arg-type]
                one, other = (torch.zeros(size, dtype=torch.bool) if each is None else each for each in (one, other))
                clean &= not bool((one & other).any())
                source, known = seen.get(key, (torch.zeros(size, dtype=torch.long), torch.zeros(size, dtype=torch.bool)))
                seen[key] = source + (one.long() << bit), known | one | other
        found = Reach()
        for (name, _), (source, known) in seen.items():
            place: Place = (name, "in" if name and mixes(self.layers[name]) else "out")
            here = {int(channel): int(source[channel]) for channel in known.nonzero().flatten()}
            if found.places.setdefault(place, here) != here or not clean or not name:
                found.mixed = found.mixed or name or "an output of the model"
        return found

    def _changed(self, writer: str, chosen: Tensor) -> dict[tuple[str, int], Tensor]:
        """Return which input channels of which uses of layers changed; those of the outputs are under no name."""
        changed: dict[tuple[str, int], Tensor] = {}
        outputs = self._run((writer, chosen), changed)
        if any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(self.outputs, outputs, strict=True)):
            changed["", 0] = torch.ones(1, dtype=torch.bool)
        return changed

    def _run(self, change: tuple[str, Tensor] | None, changed: dict[tuple[str, int], Tensor] | None) -> list[Tensor]:
        uses: dict[str, int] = {}

        def note(name: str, layer: nn.Module, given: tuple[Any, ...], answer: Tensor | None) -> Tensor | None:
            use = uses[name] = uses.get(name, -1) + 1
            if change is None or changed is None:
                assert answer is not None
                self.inputs[name, use], self.answers[name, use] = given[0].clone(), answer.clone()
                return None
            differs = _by_channel(given[0] != self.inputs[name, use], layer)
            if bool(differs.any()):
                changed[name, use] = differs
            if name == change[0]:
                return _moved(self.answers[name, use], change[1], layer)
            return self.answers[name, use].clone() if mixes(layer) else None

        with ExitStack() as stack:
            for name, layer in self.layers.items():
                if changed is not None and mixes(layer) and "forward" not in layer.__dict__:  # (its answer is known)
                    layer.forward = lambda *given, name=name, layer=layer: note(name, layer, given, None)
                    stack.callback(layer.__dict__.pop, "forward")
                else:
                    hook = layer.register_forward_hook(lambda layer, given, answer, name=name: note(name, layer, given, answer))
                    stack.callback(hook.remove)
            return outputs_of(self.model, self.sample)


def _axis(layer: nn.Module, x: Tensor) -> int:
    return x.ndim - 1 if isinstance(layer, nn.Linear) else 1


def _by_channel(differs: Tensor, layer: nn.Module) -> Tensor:
    return differs.movedim(_axis(layer, differs), 0).flatten(1).any(1)


def _moved(answer: Tensor, chosen: Tensor, layer: nn.Module) -> Tensor:
    """Return the answer with other values in the `chosen` channels, positive ones, which pass rectifiers."""
    generator = torch.Generator().manual_seed(0)
    noise = (answer.abs().amax() + 1) * (1 + torch.rand(answer.shape, generator=generator))
    shape = [1] * answer.ndim
    shape[_axis(layer, answer)] = -1
    return torch.where(chosen.view(shape), noise.to(answer), answer)


def sources(reach: Mapping[str, Reach]) -> dict[str, dict[Place, dict[int, set[int]]]]:
    """Return groups of places whose channels must agree, by the layer that numbers them.

    Layers go together where channels of both arrive at one channel. The layer with the most channels numbers those of the
    others: `{root: {place: {channel of root: channels there}}}`, -1 for those of none; a writer's place is its side "out".
    """
    arriving: dict[tuple[Place, int], list[tuple[str, int]]] = {}
    channels = _Union()
    for name, place, channel, source in _arrivals(reach):
        arriving.setdefault((place, channel), []).append((name, source))
        channels.find((name, source))
    for together in arriving.values():
        for other in together[1:]:
            channels.join(together[0], other)
    layers = _Union()
    for members in channels.members().values():
        for name, _ in members:
            layers.join((members[0][0], 0), (name, 0))
    return dict(_numbered({name for name, _ in members}, reach, channels) for members in layers.members().values())


def _arrivals(reach: Mapping[str, Reach]) -> Iterator[tuple[str, Place, int, int]]:
    """Yield writer, place, channel there and channel of the writer."""
    for name, found in reach.items():
        for place, channels in found.places.items():
            yield from ((name, place, channel, source) for channel, source in channels.items())


def _numbered(names: set[str], reach: Mapping[str, Reach], channels: _Union) -> tuple[str, dict[Place, dict[int, set[int]]]]:
    """Return the writer with the most channels of `names`, and all places by its numbers."""
    counts = {name: _count(reach[name]) for name in names}
    root = min(names, key=lambda name: (-counts[name], name))
    number = {channels.find((root, source)): source for source in range(counts[root])}
    places: dict[Place, dict[int, set[int]]] = {}
    own = [(name, (name, "out"), source, source) for name in sorted(names) for source in range(counts[name])]
    for name, place, channel, source in (*own, *_arrivals({name: reach[name] for name in sorted(names)})):
        key = number.get(channels.find((name, source)), -1)
        places.setdefault(place, {}).setdefault(key, set()).add(channel)  # type: ignore[arg-type]
    return root, places


def _count(reach: Reach) -> int:
    return 1 + max((source for channels in reach.places.values() for source in channels.values()), default=-1)


class _Union:
    """Sets of pairs that were joined."""

    def __init__(self) -> None:
        self.above: dict[tuple[str, int], tuple[str, int]] = {}

    def find(self, item: tuple[str, int]) -> tuple[str, int]:
        """Return the one that stands for the set of `item`."""
        self.above.setdefault(item, item)
        while self.above[item] != item:
            self.above[item] = self.above[self.above[item]]
            item = self.above[item]
        return item

    def join(self, one: tuple[str, int], other: tuple[str, int]) -> None:
        """Make one set of two."""
        first, second = self.find(one), self.find(other)
        self.above[max(first, second)] = min(first, second)

    def members(self) -> dict[tuple[str, int], list[tuple[str, int]]]:
        """Return the sets by what stands for them."""
        found: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for item in sorted(self.above):
            found.setdefault(self.find(item), []).append(item)
        return found
