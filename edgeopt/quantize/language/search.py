"""Layers at 8 bits: as few as keep the perplexity, those first whose 4 bits change the next token's distribution most.

    gain of a decoder layer = KL(exact ‖ all at 4 bits) − KL(exact ‖ this one at 8 bits, the others at 4)

measured on a part of the text. Layers are sorted by gain per byte, and the shortest prefix of that order that keeps the bound
is found by halving; with all of them at 8 bits the search has failed, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.quantize.language.builder import Builder
from edgeopt.quantize.language.layers import Layer, find_layers
from edgeopt.quantize.language.text import Likelihood, Reader, Tokens, log_softmax

_LAYER = re.compile(r"(?:layers|h|blocks|layer)\.(\d+)\.")
_STRIDE = 4
"""Every how many positions the divergence is looked at: their logits are kept, and a vocabulary is large."""


@dataclass(frozen=True)
class Lifted:
    """The groups at 8 bits, what they gain, and the likelihood with them."""

    groups: tuple[str, ...]
    gains: dict[str, float]
    likelihood: Likelihood
    held: bool


def grouped(layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Return the names of the body's matrices by the decoder layer they are in."""
    groups: dict[str, list[str]] = {}
    for layer in layers:
        if not layer.head:
            found = _LAYER.search(layer.name)
            groups.setdefault(f"layer {found[1]}" if found else layer.name, []).append(layer.name)
    return groups


@dataclass(frozen=True)
class Measures:
    """How a search looks at models.

    Attributes:
        exact: the floating-point model.
        windows: a part of the text, for the sensitivity of layers.
        likelihood: measures a model on all of it.
        open_reader: opens a model.
    """

    exact: Reader
    windows: list[Tokens]
    likelihood: Callable[[ir.Model], Likelihood]
    open_reader: Callable[[ir.Model], Reader]


def lift_layers(builder: Builder, bits: dict[str, int], measures: Measures, *, bound: float) -> Lifted:
    """Return the fewest decoder layers at 8 bits that keep the perplexity's increase below `bound`.

    Matrices that are not in `bits` stay in floating point.
    """
    groups = grouped([layer for layer in find_layers(builder.model) if layer.name in bits])
    gains = _gains(builder, bits, groups, measures)
    order = sorted(groups, key=lambda group: -gains[group])
    low, high = 1, len(order)
    best: tuple[int, Likelihood] | None = None
    while low <= high:
        middle = (low + high) // 2
        found = measures.likelihood(builder.build(lifted(bits, groups, order[:middle])))
        if found.increase <= bound:
            best, high = (middle, found), middle - 1
        else:
            low = middle + 1
    if best is None:
        return Lifted(tuple(order), gains, measures.likelihood(builder.build(lifted(bits, groups, order))), held=False)
    return Lifted(tuple(order[: best[0]]), gains, best[1], held=True)


def lifted(bits: dict[str, int], groups: dict[str, list[str]], chosen: Sequence[str]) -> dict[str, int]:
    """Return the bits of each matrix with those of the chosen groups at 8."""
    return bits | {name: 8 for group in chosen for name in groups[group]}


def _gains(builder: Builder, bits: dict[str, int], groups: dict[str, list[str]], measures: Measures) -> dict[str, float]:
    """Return by how much the divergence falls with each group at 8 bits."""
    windows = measures.windows
    places = [np.arange(_STRIDE, len(tokens), _STRIDE, dtype=np.int64) for tokens in windows]
    logs = [log_softmax(measures.exact(tokens, chosen)) for tokens, chosen in zip(windows, places, strict=True)]

    def divergence(model: ir.Model) -> float:
        reader = measures.open_reader(model)
        parts = [
            _kl(known, log_softmax(reader(tokens, chosen))) for tokens, chosen, known in zip(windows, places, logs, strict=True)
        ]
        return float(np.mean(parts))

    base = divergence(builder.build(bits))
    gains = {}
    with progress.task("sensitivity of layers", total=len(groups)) as advance:
        for group in groups:
            gains[group] = base - divergence(builder.build(lifted(bits, groups, [group])))
            advance()
    return gains


def _kl(exact: NDArray[np.float32], made: NDArray[np.float32]) -> float:
    return float((np.exp(exact) * (exact - made)).sum(-1).mean())
