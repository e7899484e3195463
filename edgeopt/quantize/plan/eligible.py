"""Which nodes could run on integers at all: those that multiply an activation by constant weights of a form kernels take."""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.matching import attribute, constant, is_float
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.infinite_nodes import infinite_operand


def is_floating(node: ir.Node) -> bool:
    """Return whether the node gives a floating-point tensor."""
    return any(is_float(value) for value in node.outputs)


def weight_objection(node: ir.Node) -> Why | None:
    """Return why a Conv, ConvTranspose, Gemm or MatMul cannot run on integers with constant weights; None if it can."""
    weight = constant(node.inputs[1])
    if weight is None:
        return Why(Cause.TWO_ACTIVATIONS)
    if not is_float(node.inputs[0]) or constant(node.inputs[0]) is not None:
        return Why(Cause.NO_ACTIVATION)
    if not weight.size:
        return Why(Cause.SMALL)
    if node.op_type == "MatMul" and len(weight.shape) != 2:
        return Why(Cause.WEIGHT_AXES, str(len(weight.shape)))
    if node.op_type == "Gemm" and (attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "transA", 0)):
        return Why(Cause.GEMM_FORM)
    if _has_unusual_bias(node):
        return Why(Cause.BIAS_FORM)
    infinite = infinite_operand(node)
    return Why(Cause.INFINITE, infinite) if infinite else None


def _has_unusual_bias(node: ir.Node) -> bool:
    """Return whether a bias is computed, or has more than a value for each output channel: a Gemm takes one per row, too."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    bias = constant(node.inputs[2])
    return bias is None or any(size != 1 for size in bias.shape.numpy()[:-1])
