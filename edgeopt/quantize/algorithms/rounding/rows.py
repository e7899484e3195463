"""A layer's inputs as the rows of a matrix product: y = W·x for each row x and group of channels.

Gemm, MatMul    x [..., k]                        rows [1, n, k]
Conv            x [n, c, h, w], kernel [kh, kw]   rows [groups, positions, c / groups · kh · kw], a sample of the positions
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.matching import attribute

Floats = NDArray[Any]


def weight_rows(node: ir.Node, weight: Floats) -> Floats:
    """Return a layer's weight as [groups, outputs of a group, inputs of a group]."""
    if node.op_type == "Conv":
        groups = attribute(node, "group", 1)
        return np.asarray(weight.reshape(groups, weight.shape[0] // groups, -1))
    return np.asarray((weight if attribute(node, "transB", 0) else weight.T)[None])


def as_weight(node: ir.Node, rows: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the rows of `weight_rows` in the shape of the layer's weight."""
    if node.op_type == "Conv":
        return np.asarray(rows.reshape(shape))
    return np.asarray(rows[0] if attribute(node, "transB", 0) else rows[0].T)


def paired_rows(
    node: ir.Node, values: tuple[Floats, Floats], kernel: tuple[int, ...], *, limit: int, generator: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return (inputs [g, n, k], outputs [g, n, o]) of one batch, at most `limit` rows, picked at random.

    Args:
        node: Conv, Gemm or MatMul.
        values: its input and its output.
        kernel: the spatial shape of a convolution's weight.
        limit: how many rows to keep.
        generator: picks them.
    """
    given, result = values
    if node.op_type != "Conv":
        inputs, outputs = given.reshape(-1, given.shape[-1]), result.reshape(-1, result.shape[-1])
        chosen = _chosen(inputs.shape[0], limit, generator)
        return inputs[chosen][None], outputs[chosen][None]
    batch, spatial = given.shape[0], result.shape[2:]
    chosen = _chosen(batch * int(np.prod(spatial)), limit, generator)
    sample, *at = np.unravel_index(chosen, (batch, *spatial))
    patches = _patches(node, given, kernel, (sample, *at))  # [n, c, prod(kernel)]
    groups = attribute(node, "group", 1)
    picked = np.moveaxis(result, 1, -1)[(sample, *at)]  # [n, o]
    rows, wanted = (part.reshape(len(chosen), groups, -1).swapaxes(0, 1) for part in (patches, picked))
    return rows, wanted


def _chosen(count: int, limit: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(count) if count <= limit else np.sort(generator.choice(count, limit, replace=False))


def _patches(node: ir.Node, given: Floats, kernel: tuple[int, ...], at: tuple[Any, ...]) -> Floats:
    """Return what the kernel sees at the positions `at` of the output, [n, c, prod(kernel)]."""
    rank = len(kernel)
    strides = attribute(node, "strides", [1] * rank)
    dilations = attribute(node, "dilations", [1] * rank)
    pads = conv_pads(node, given.shape[2:], kernel)
    padded = np.pad(given, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    sample, *positions = at
    columns = []
    for offsets in product(*map(range, kernel)):
        where = [p * s + o * d for p, s, o, d in zip(positions, strides, offsets, dilations, strict=True)]
        columns.append(padded[(sample, slice(None), *where)])
    return np.stack(columns, axis=2)


def conv_pads(node: ir.Node, shape: tuple[int, ...], kernel: tuple[int, ...]) -> list[int]:
    """Return a convolution's pads, all beginnings and then all ends, for an input of spatial `shape`."""
    rank = len(kernel)
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode in {"NOTSET", "VALID"}:
        return list(attribute(node, "pads", [0] * 2 * rank)) if mode == "NOTSET" else [0] * 2 * rank
    strides = attribute(node, "strides", [1] * rank)
    dilations = attribute(node, "dilations", [1] * rank)
    totals = [
        max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        for size, stride, width, dilation in zip(shape, strides, kernel, dilations, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return less + more if mode == "SAME_UPPER" else more + less
