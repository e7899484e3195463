"""1 × 1 convolutions that output floats, as matrix products: onnxruntime has an integer convolution only for rounded outputs.

    Before: Conv(DequantizeLinear(q [n, c, h, w]), W [m, c, 1, 1], b)
    After:  Transpose(MatMulIntegerToFloat(Transpose(q) → [n, h, w, c], Wᵀ [c, m], b))

The operator is a contrib one: of MatMul between DequantizeLinear nodes onnxruntime makes the same one, but leaves the bias to
an Add of its own (4 % of MobileNetV2's time). Its integer convolutions keep channels last as well, so of the Transposes around
a chain of such layers only those at its ends are left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import add_initializer, import_contrib_operators, insert_before, new_node, remove_unused, take_over
from edgeopt.graph.matching import array, dequantized_bytes, is_standard, pointwise_shape, produced_by
from edgeopt.passes.rewrite import Rewrite

_LAST = (0, 2, 3, 1)
_FIRST = (0, 3, 1, 2)


class PointwiseProducts(Rewrite):
    """Make 1 × 1 convolutions of 8-bit images, whose output is read as floats, products; counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every such convolution that is no output of the model."""
        found = [node for node in model.graph if is_standard(node, "Conv") and _gives_floats(node)]
        for node in found:
            _rewrite(model.graph, node)
        if found:
            import_contrib_operators(model)
            remove_unused(model)
        return len(found)


def _gives_floats(node: ir.Node) -> bool:
    of_weight = dequantized_bytes(node.inputs[1])  # no kernel multiplies 16-bit integers
    if dequantized_bytes(node.inputs[0]) is None or of_weight is None:
        return False
    result = node.outputs[0]
    if not pointwise_shape(node, array(of_weight.inputs[0])) or result.is_graph_output():
        return False
    return any(reader.op_type != "QuantizeLinear" for reader in result.consumers())


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    of_input, of_weight = dequantized_bytes(node.inputs[0]), dequantized_bytes(node.inputs[1])
    weight = array(of_weight.inputs[0]) if of_weight is not None else None
    if of_input is None or of_weight is None or weight is None:
        return
    name = node.name
    matrix = add_initializer(graph, f"{name}_matrix", np.ascontiguousarray(weight[:, :, 0, 0].T))
    turn = new_node(node, "Transpose", [of_input.inputs[0]], perm=_LAST)
    turn.outputs[0].type = of_input.inputs[0].type if of_input.inputs[0] is not None else None
    integers = insert_before(graph, node, turn, f"{name}_channels_last")
    turn.name = integers.name
    scales, zeros = (of_input.inputs[1], of_weight.inputs[1]), (of_input.inputs[2], of_weight.inputs[2])
    factors = [integers, matrix, *scales, *zeros]
    bias = _bias(node)
    if bias is not None:
        factors.append(add_initializer(graph, f"{name}_bias", bias))
    product = ir.node("MatMulIntegerToFloat", factors, domain="com.microsoft")
    product.outputs[0].type = node.outputs[0].type
    multiplied = insert_before(graph, node, product, f"{name}_product")
    product.name = name
    back = new_node(node, "Transpose", [multiplied], perm=_FIRST)
    back.name = f"{name}_channels_first"
    graph.insert_before(node, back)
    take_over(node.outputs[0], back.outputs[0])
    graph.remove(node, safe=True)


def _bias(node: ir.Node) -> NDArray[Any] | None:
    """Return the convolution's bias as floats, whether it is stored so or on an int32 grid."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    dequantize = produced_by(value, "DequantizeLinear")
    if dequantize is None:
        return array(value)
    numbers, scale, zero = (array(item) for item in (*dequantize.inputs, None)[:3])
    if numbers is None or scale is None:
        return None
    exact = numbers.astype(np.float64) - (0.0 if zero is None else zero.astype(np.float64))
    return np.asarray(exact * scale.astype(np.float64), dtype=np.float32)
