"""Linear bottlenecks (MobileNetV2, Sandler et al., https://arxiv.org/abs/1801.04381): what they add up, and what makes it.

    y [n, c, h, w] → Conv (1 × 1, widens) → Relu6 → Conv (depthwise) → Relu6 → Conv (1 × 1, narrows: the projection) → Add → y'
    └────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘

No activation function bounds these sums, and every block of a stage reads the sum of all before it. An integer Add rounds in
every block what it reads and what it gives: in MobileNetV2 that makes 30 % of the noise of the logits. So the sums stay in
floating point, and projections give floats to them (their kernel has the exact 32-bit sums anyway); only what the next
convolution reads is rounded. What that gains and costs is in docs/log/quantize.md.
"""

from __future__ import annotations

import onnx

from edgeopt.graph.index import GraphIndex, is_depthwise, is_pointwise
from edgeopt.quantize.plan.stem import ACTIVATIONS

_BETWEEN = ACTIVATIONS | {"HardSigmoid", "Mul", "Sigmoid", "Swish"}
"""What may stand between a depthwise convolution and the projection: activation functions, squeeze-excitation's gate."""
_STEPS = 4


def is_projection(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Tell whether the node is a 1 × 1 convolution that narrows what a depthwise one gives, with nothing but sums behind it."""
    weight = index.initializers.get(node.input[1]) if node.op_type == "Conv" else None
    if weight is None or not is_pointwise(node, weight):
        return False
    outputs, inputs = weight.dims[:2]
    bounded = any(reader.op_type in _BETWEEN for reader in index.consumers[node.output[0]])
    return outputs < inputs and not bounded and _behind_depthwise(node.input[0], index, _STEPS)


def _behind_depthwise(name: str, index: GraphIndex, steps: int) -> bool:
    maker = index.producer.get(name)
    if maker is None or steps == 0:
        return False
    if maker.op_type == "Conv":
        return is_depthwise(maker, index)
    return maker.op_type in _BETWEEN and any(_behind_depthwise(read, index, steps - 1) for read in index.activations(maker))


def bottleneck_sums(index: GraphIndex) -> frozenset[str]:
    """Return the names of the additions of two activations, one of which a projection gives."""
    return frozenset(
        node.name for node in index.graph.node if node.op_type == "Add" and _adds_projection(index.activations(node), index)
    )


def _adds_projection(names: list[str], index: GraphIndex) -> bool:
    makers = [index.producer.get(name) for name in names]
    return len(names) == 2 and any(maker is not None and is_projection(maker, index) for maker in makers)
