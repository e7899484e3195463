"""Weights clipped to the range of least squared error, before their scales are taken from their largest values.

Before: W, scale = max|W_o| / 127           After: clip(W_o, -c_o, c_o), scale = c_o / 127
"""

from __future__ import annotations

import numpy as np
import onnx

from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, attribute, replace_constant
from edgeopt.quantize.affine import Grid
from edgeopt.quantize.calibrate.weights import weight_limits
from edgeopt.quantize.plan.plan import Plan


def clip_weights(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Return a copy of `model` in which the weights of the plan's integer nodes are clipped; shared ones are left alone."""
    copy = onnx_file.copy_of(model)
    index, integer = GraphIndex(copy.graph), {node.name: node for node in plan.integer_nodes}
    for node in copy.graph.node:
        if node.name not in integer or node.op_type not in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
            continue
        weight = index.constant(node.input[1])
        if weight is None or node.input[1] not in index.initializers or len(index.consumers[node.input[1]]) != 1:
            continue
        grid = Grid.of(plan.scheme.weight, symmetric=True, reduced=integer[node.name].reduce_range)
        axis = _channels(node) if plan.scheme.per_channel and weight.ndim > 1 else None
        limits = weight_limits(weight, axis, grid)
        shape = [1] * weight.ndim
        if axis is not None:
            shape[axis] = -1
        limits = limits.reshape(shape)
        replace_constant(copy.graph, node.input[1], np.clip(weight, -limits, limits))
    return copy


def _channels(node: onnx.NodeProto) -> int:
    """Return the axis of the output channels, each of which has a scale."""
    if node.op_type == "Conv" or (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        return 0
    return 1 if node.op_type in {"Gemm", "ConvTranspose"} else -1
