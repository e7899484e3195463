"""Which nodes could run on integers at all: those that multiply an activation by constant weights of a form kernels take."""

from __future__ import annotations

import onnx

from edgeopt.graph.index import GraphIndex, attribute

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
PRODUCT = "both factors are activations: rounding them costs accuracy for little work"


def is_floating(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Tell whether the node gives a floating-point tensor."""
    return any(index.is_float(name) for name in node.output)


def weight_objection(node: onnx.NodeProto, index: GraphIndex) -> str:
    """Return why a Conv, ConvTranspose, Gemm or MatMul cannot run on integers with constant weights, or ""."""
    weight = index.initializers.get(node.input[1])
    if weight is None:
        return PRODUCT
    if not index.is_float(node.input[0]) or node.input[0] in index.initializers:
        return "its input is not a floating-point activation"
    if node.op_type == "MatMul" and len(weight.dims) != 2:
        return f"its weight has {len(weight.dims)} axes; integer kernels take 2"
    if node.op_type == "Gemm" and (attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "transA", 0)):
        return "Gemm with alpha or transA has no integer kernel"
    if _has_unusual_bias(node, index):
        return "its bias is not a constant vector"
    return ""


def _has_unusual_bias(node: onnx.NodeProto, index: GraphIndex) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return False
    bias = index.initializers.get(node.input[2])
    return bias is None or len([size for size in bias.dims if size != 1]) > 1
