"""Inputs scaled before they are rounded: large ones get finer grids, and the layer before takes the scale back.

For y = x·W, columns j of x with large values matter most; W[j] · s_j is rounded with a relatively smaller error, and x_j /
s_j comes from the norm's weight or the product before (Lin et al., https://arxiv.org/abs/2306.00978, equation 4):

    Before: x = RMSNorm(h, g);       q, gate, … = x · W
    After:  x = RMSNorm(h, g / s);   …          = x · (s · W)

s = mean square of x_j ^ (α / 2), and α is the one of a few whose rounded matrices are nearest on the text, tr(Δ H Δᵀ).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.graph.editing import add_initializer, copied, forget_names
from edgeopt.graph.matching import array, constant, name_of
from edgeopt.quantize.language.blocks import round_blocks
from edgeopt.quantize.language.layers import NORMS, Layer, find_layers

_ALPHAS = (0.0, 0.25, 0.5, 0.75)


def scale_inputs(model: ir.Model, moments: Mapping[str, NDArray[np.float64]], *, block: int) -> ir.Model:
    """Return a copy of `model`, equal but for rounding, in which inputs behind norms are scaled for 4-bit blocks."""
    made = copied(model)
    forget_names(made.graph)
    groups: dict[str, list[Layer]] = {}
    for layer in find_layers(made):
        groups.setdefault(name_of(layer.given), []).append(layer)
    with progress.task("scale inputs", total=len(groups)) as advance:
        for name, layers in groups.items():
            position = _norm_weight(layers)
            if position is not None and name in moments and not any(layer.head or layer.turned for layer in layers):
                _scale(made.graph, layers, position, moments[name], block)
            advance()
    return made


def _norm_weight(layers: list[Layer]) -> int | None:
    """Return where the norm before the layers has its weight, if these layers are all that reads its output."""
    given = layers[0].given
    norm = given.producer()
    if norm is None or norm.op_type not in NORMS or {layer.node for layer in layers} != set(given.consumers()):
        return None
    position = NORMS[norm.op_type]
    return position if constant(norm.inputs[position]) is not None and not given.is_graph_output() else None


def _scale(graph: ir.Graph, layers: list[Layer], position: int, inner: NDArray[np.float64], block: int) -> None:
    size = np.sqrt(np.maximum(np.diag(inner), 1e-12)).astype(np.float32)
    weights = [layer.weight().astype(np.float32) for layer in layers]
    importance = np.square(size)
    errors = []
    for alpha in _ALPHAS:
        scale = _factors(size, alpha)
        error = 0.0
        for weight in weights:
            rounded = round_blocks(
                weight * scale,
                bits=4,
                block=block,
                rounding="search",
                importance=(importance / np.square(scale)).astype(np.float32),
            )
            left = (rounded.matrix() / scale - weight).astype(np.float64)
            error += float(np.einsum("oi,oi->", left @ inner, left))
        errors.append(error)
    best = _ALPHAS[int(np.argmin(errors))]
    if best == 0.0:
        return
    scale = _factors(size, best)
    norm = layers[0].given.producer()
    before = array(norm.inputs[position]) if norm is not None else None
    if norm is None or before is None:
        return
    narrower = add_initializer(graph, f"{name_of(norm)}.weight_scaled", (before / scale).astype(before.dtype))
    norm.replace_input_with(position, narrower)
    for layer, weight in zip(layers, weights, strict=True):
        wider = add_initializer(graph, f"{layer.name}.weight_scaled", np.ascontiguousarray((weight * scale).T))
        layer.node.replace_input_with(1, wider)


def _factors(size: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    """Return the scale of each input, with a geometric mean of 1."""
    scale = np.power(size, alpha)
    made: NDArray[np.float32] = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
    return made
