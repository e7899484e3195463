"""Neurons of feed-forward networks: the rows of the up-projections (and gates) with the column of the down-projection."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from edgeopt.models.reshape import Empty
from edgeopt.prune.structure.heads import is_linear, linear_sizes
from edgeopt.prune.structure.names import FEED_FORWARD, Rule
from edgeopt.prune.structure.parts import Cut, Kind, Part

_PACKED = "Wi"
"""Up-projection and gate in one layer (ModernBERT)."""


def neurons(model: nn.Module) -> list[Part]:
    """Return the feed-forward networks of `model`, in order."""
    modules = dict(model.named_modules())
    return [part for name in modules for part in _feed_forward(name, modules)]


def by_rules(model: nn.Module, rules: list[Rule]) -> list[Part]:
    """Return the parts that the user's rules describe."""
    modules = dict(model.named_modules())
    return [part for rule in rules for name in modules for part in _by_rule(name, modules, rule)]


def _feed_forward(name: str, modules: dict[str, nn.Module]) -> Iterator[Part]:
    for ups, down in FEED_FORWARD:
        writers = [_below(name, up) for up in ups]
        reader = _below(name, down)
        if not all(is_linear(modules.get(layer)) for layer in (*writers, reader)):
            continue
        units = linear_sizes(modules[reader])[0]
        packed = ups == (_PACKED,)
        if any(linear_sizes(modules[writer])[1] != units * (2 if packed else 1) for writer in writers):
            continue
        starts = (0, units) if packed else (0,)
        cuts = tuple(Cut(writer, "out", 1, starts) for writer in writers)
        between = _depthwise(name, modules, units)
        empty = {} if between else _empty(writers, reader, 2 if packed else 1)
        yield Part(name, Kind.NEURONS, units, (*cuts, *between), (Cut(reader, "in", 1),), empty)
        return


def _depthwise(name: str, modules: dict[str, nn.Module], units: int) -> tuple[Cut, ...]:
    """Return the cuts of depthwise convolutions between the projections (SegFormer)."""
    return tuple(
        Cut(inner, "out", 1)
        for inner, layer in modules.items()
        if inner.startswith(f"{name}.") and isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == units
    )


def _by_rule(name: str, modules: dict[str, nn.Module], rule: Rule) -> Iterator[Part]:
    writers = [_below(name, writer) for writer in rule.writers]
    reader = _below(name, rule.reader)
    if not all(is_linear(modules.get(layer)) for layer in (*writers, reader)):
        return
    units, rest = divmod(linear_sizes(modules[reader])[0], rule.size)
    outputs = [linear_sizes(modules[writer])[1] for writer in writers]
    if rest or not units or any(count % units for count in outputs):
        return
    cuts = tuple(Cut(writer, "out", count // units) for writer, count in zip(writers, outputs, strict=True))
    kind = Kind.NEURONS if rule.size == 1 else Kind.HEADS
    empty = _empty(writers, reader, 1) if kind is Kind.NEURONS else {}
    yield Part(name, kind, units, cuts, (Cut(reader, "in", rule.size),), empty)


def _empty(writers: list[str], reader: str, width: int) -> dict[str, Empty]:
    return {**dict.fromkeys(writers, Empty(width=width)), reader: Empty(whole=True)}


def _below(name: str, inner: str) -> str:
    return f"{name}.{inner}" if name else inner
