"""Which nodes could run on integers at all: those that multiply an activation by constant weights of a form kernels take."""

from __future__ import annotations

import onnx

from edgeopt.graph.index import GraphIndex, attribute
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.infinite import infinite_operand

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def is_floating(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Tell whether the node gives a floating-point tensor."""
    return any(index.is_float(name) for name in node.output)


def weight_objection(node: onnx.NodeProto, index: GraphIndex) -> Why | None:
    """Return why a Conv, ConvTranspose, Gemm or MatMul cannot run on integers with constant weights; None if it can."""
    weight = index.initializers.get(node.input[1])
    if weight is None:
        return Why(Cause.TWO_ACTIVATIONS)
    if not index.is_float(node.input[0]) or node.input[0] in index.initializers:
        return Why(Cause.NO_ACTIVATION)
    if node.op_type == "MatMul" and len(weight.dims) != 2:
        return Why(Cause.WEIGHT_AXES, str(len(weight.dims)))
    if node.op_type == "Gemm" and (attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "transA", 0)):
        return Why(Cause.GEMM_FORM)
    if _has_unusual_bias(node, index):
        return Why(Cause.BIAS_FORM)
    infinite = infinite_operand(node, index)
    return Why(Cause.INFINITE, infinite) if infinite else None


def _has_unusual_bias(node: onnx.NodeProto, index: GraphIndex) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return False
    bias = index.initializers.get(node.input[2])
    return bias is None or len([size for size in bias.dims if size != 1]) > 1
