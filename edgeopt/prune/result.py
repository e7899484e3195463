"""What the stage `prune` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeopt.models.model_size import ModelSize
from edgeopt.train.epoch import Epoch


@dataclass(frozen=True)
class LayerWidth:
    """A layer's output channels (or a part's heads or neurons, by `kind`) before and after."""

    name: str
    channels_before: int
    channels_after: int
    kind: str = "channels"


@dataclass(frozen=True)
class LayerZeros:
    """Weights of a layer, and how many of them were set to zero."""

    name: str
    weights: int
    zeros: int


@dataclass(frozen=True)
class Allocation:
    """How the budget was met: the costs in `unit` (predicted, where it is a latency), and the choices that were judged."""

    unit: str
    whole: float
    budget: float
    planned: float
    divergence: float = 0.0
    judged: int = 0


@dataclass(frozen=True)
class PruneFacts:
    """What went, and the recovery.

    `history` has one entry per epoch; `spared` the layers that could not be cut and stayed whole, by name, with the reason;
    `dropped` the numbers of layers that were removed whole, by stack.
    """

    before: ModelSize
    after: ModelSize
    layers: tuple[LayerWidth, ...]
    history: tuple[Epoch, ...]
    spared: Mapping[str, str]
    allocation: Allocation | None = None
    dropped: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    zeros: tuple[LayerZeros, ...] = ()
    """Layers with weights that were set to zero."""
    tokens: tuple[int, int] | None = None
    """Tokens of the vocabulary before and after, where it was trimmed."""
    uniform: bool = False
    """The folder is a plain transformers folder, which `from_pretrained` loads."""


def joined(first: PruneFacts, then: PruneFacts) -> PruneFacts:
    """Return what went in two rounds one after the other."""
    widths = {layer.name: layer for layer in first.layers}
    for layer in then.layers:
        before = widths.get(layer.name, layer).channels_before
        widths[layer.name] = replace(layer, channels_before=before)
    allocation = then.allocation
    if allocation is not None and first.allocation is not None:
        allocation = replace(allocation, whole=first.allocation.whole, judged=first.allocation.judged + allocation.judged)
    return replace(
        then,
        before=first.before,
        layers=tuple(widths.values()),
        history=(*first.history, *then.history),
        spared={**first.spared, **then.spared},
        allocation=allocation,
        dropped=first.dropped,
    )


@dataclass(frozen=True, kw_only=True)
class PruneResult(PruneFacts):
    """The pruned model's folder, what went, and the recovery."""

    path: Path
