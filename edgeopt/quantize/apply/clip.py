"""Weights clipped to the range of least squared error, before their scales are taken from their largest values.

Before: W, scale = max|W_o| / 127           After: clip(W_o, -c_o, c_o), scale = c_o / 127
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import copied, replace_constant
from edgeopt.graph.matching import array, is_standard, name_of
from edgeopt.quantize.affine import Grid
from edgeopt.quantize.calibrate.weights import weight_limits
from edgeopt.quantize.plan.operands import WEIGHTED, channel_axis
from edgeopt.quantize.plan.plan import Plan


def clip_weights(model: ir.Model, plan: Plan) -> ir.Model:
    """Return a copy of `model` in which the weights of the plan's integer nodes are clipped; shared ones are left alone."""
    copy = copied(model)
    integer = {node.name: node for node in plan.integer_nodes}
    for node in copy.graph:
        value = node.inputs[1] if node.name in integer and is_standard(node, *WEIGHTED) else None
        weight = array(value)
        if value is None or weight is None or len(value.consumers()) != 1:
            continue
        grid = Grid.of(plan.scheme.weight, symmetric=True, reduced=integer[name_of(node)].reduce_range)
        axis = channel_axis(node) if plan.scheme.has_channels(node.op_type) else None
        limits = weight_limits(weight, axis, grid)
        shape = [1] * weight.ndim
        if axis is not None:
            shape[axis] = -1
        limits = limits.reshape(shape)
        replace_constant(value, np.clip(weight, -limits, limits))
    return copy
