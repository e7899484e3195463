"""Linear bottlenecks (MobileNetV2, Sandler et al., https://arxiv.org/abs/1801.04381): what they add up, and what makes it.

    y [n, c, h, w] → Conv (1 × 1, widens) → Relu6 → Conv (depthwise) → Relu6 → Conv (1 × 1, narrows: the projection) → Add → y'
    └────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘

No activation function bounds these sums, and every block of a stage reads the sum of all before it. An integer Add rounds in
every block what it reads and what it gives: in MobileNetV2 that makes 30 % of the noise of the logits. So the sums stay in
floating point, and projections give floats to them (their kernel has the exact 32-bit sums anyway); only what the next
convolution reads is rounded. What that gains and costs is in docs/log/quantize.md.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.matching import activations, array, is_depthwise, is_pointwise, is_standard, name_of
from edgeopt.quantize.plan.stem import ACTIVATIONS

_BETWEEN = ACTIVATIONS | {"HardSigmoid", "Mul", "Sigmoid", "Swish"}
"""What may stand between a depthwise convolution and the projection: activation functions, squeeze-excitation's gate."""
_STEPS = 4


def is_projection(node: ir.Node) -> bool:
    """Tell whether the node is a 1 × 1 convolution that narrows what a depthwise one gives, with nothing but sums behind it."""
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


def bottleneck_sums(graph: ir.Graph) -> frozenset[str]:
    """Return the names of the additions of two activations, one of which a projection gives."""
    return frozenset(name_of(node) for node in graph if node.op_type == "Add" and _adds_projection(activations(node)))


def _adds_projection(values: list[ir.Value]) -> bool:
    producers = [value.producer() for value in dict.fromkeys(values)]
    return len(values) == 2 and any(node is not None and is_projection(node) for node in producers)
