"""Where sums of two products saturate: x86 without VNNI multiplies u8 by s8 and adds neighbours in 16 bits (vpmaddubsw).

The sum q_a·w_a + q_b·w_b must stay in [-32768, 32767]. With q up to 255 and w up to ±127 it reaches ±64,770, and what is beyond
is cut off silently. Whether it can be depends on the weights that are neighbours and on how large the two activations get:
q_j = round(high_j / step) + zero point from the channels' extremes. A layer where no pair can saturate keeps 8 bits; the others
get 7-bit weights (64·255·2 = 32,640 fits), which costs accuracy and is therefore done nowhere else.

Which weights are neighbours depends on how the kernel packs them, so both orders are checked: neighbouring input channels at
one place of the kernel, and neighbouring places in one channel. Depthwise convolutions have kernels of their own that add in
32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.matching import array, attribute, name_of
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.plan import NodePlan, Plan, TensorPlan
from edgeopt.quantize.plan.smoothquant import scaled_weight

_LARGEST = 32767
Extremes = Mapping[str, NDArray[Any]]


def reduce_where_saturating(
    model: ir.Model, plan: Plan, highs: Extremes, names: Set[str] | None = None, *, always: bool = False
) -> Plan:
    """Return the plan with 7-bit weights for the layers whose pair sums can saturate.

    Args:
        model: prepared, floating point.
        plan: with a range for every input.
        highs: the largest value of each input channel, by tensor; without it a channel is taken to reach the range's end.
        names: of the nodes to look at; None: all. The others stay as they are.
        always: 7 bits for all layers looked at, since the target wants that.
    """
    layers = {name_of(node): node for node in model.graph if node.op_type in WEIGHTED}
    ranges = {tensor.name: tensor for tensor in plan.tensors}

    def reduced(node: NodePlan) -> NodePlan:
        layer = layers.get(node.name)
        if layer is None or node.precision == "float" or (names is not None and node.name not in names):
            return node
        return replace(node, reduce_range=always or _saturates(layer, plan, (ranges, highs)))

    return replace(plan, nodes=tuple(map(reduced, plan.nodes)))


def _saturates(node: ir.Node, plan: Plan, seen: tuple[Mapping[str, TensorPlan], Extremes]) -> bool:
    weight, read = array(node.inputs[1]), name_of(node.inputs[0])
    smoothed = next((item for item in plan.smoothing if item.name == read), None)
    if node.op_type not in {"Conv", "Gemm", "MatMul"} or weight is None:
        return False
    ranges, highs = seen
    tensor, high = ranges.get(read), highs.get(read)
    if smoothed is not None and node.op_type != "Conv":
        weight, tensor, high = scaled_weight(node, weight, smoothed.factors), ranges.get(smoothed.scaled), None
    if tensor is None or tensor.dtype != "uint8":
        return False
    rows = _rows(node, weight)  # [outputs, inputs, kernel]
    if rows.shape[1] == 1 and attribute(node, "group", 1) > 1:
        return False
    levels = Affine.of_values(
        rows, "int8", axis=0 if plan.scheme.has_channels(node.op_type) else None, symmetric=True
    ).quantize(rows)
    top = np.full(rows.shape[1], 255.0)
    if high is not None and high.size == rows.shape[1]:
        top = Affine.of_range(tensor.low, tensor.high, "uint8", symmetric=False).quantize(high).astype(np.float64)
    products = levels * top[None, :, None]
    return any(_pair_sum(products, axis) > _LARGEST for axis in (1, 2))


def _rows(node: ir.Node, weight: NDArray[Any]) -> NDArray[Any]:
    if node.op_type == "Conv":
        return weight.reshape(weight.shape[0], weight.shape[1], -1)
    matrix = weight if attribute(node, "transB", 0) else weight.T
    return matrix[:, :, None]


def _pair_sum(products: NDArray[Any], axis: int) -> float:
    """Return the largest sum of two neighbours along `axis`, positive and negative ones taken apart (activations can be 0)."""
    moved = np.moveaxis(products, axis, -1)
    if moved.shape[-1] < 2:
        return 0.0
    positive, negative = np.maximum(moved, 0), np.maximum(-moved, 0)
    return max(float((part[..., 1:] + part[..., :-1]).max()) for part in (positive, negative))
