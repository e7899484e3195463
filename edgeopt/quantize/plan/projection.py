"""Projections of linear bottlenecks (MobileNetV2, Sandler et al., https://arxiv.org/abs/1801.04381).

    y [n, c, h, w] → Conv (1 × 1, widens) → Relu6 → Conv (depthwise) → Relu6 → Conv (1 × 1, narrows: the projection) → Add → y'
    └────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘

No activation function follows a projection. Where its residual Add stays in floating point, the projection can return floats
without rounding: as a matrix product with 32-bit sums (`pointwise_products` in a target's rules).
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.matching import activations, array, is_depthwise, is_pointwise, is_standard

_BETWEEN = {"Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Swish"}
"""Operators allowed between a depthwise convolution and the projection: activation functions, squeeze-excitation's gate."""
_STEPS = 4


def is_projection(node: ir.Node) -> bool:
    """Return whether the node is a 1 × 1 convolution that narrows a depthwise one's output, without an activation function."""
    weight = array(node.inputs[1]) if is_standard(node, "Conv") else None
    if weight is None or not is_pointwise(node):
        return False
    outputs, inputs = weight.shape[:2]
    bounded = any(reader.op_type in _BETWEEN for reader in node.outputs[0].consumers())
    return outputs < inputs and not bounded and _behind_depthwise(node.inputs[0], _STEPS)


def _behind_depthwise(value: ir.Value | None, steps: int) -> bool:
    node = value.producer() if value is not None else None
    if node is None or steps == 0:
        return False
    if node.op_type == "Conv":
        return is_depthwise(node)
    return node.op_type in _BETWEEN and any(_behind_depthwise(read, steps - 1) for read in activations(node))
