"""A product on two axes and its bias are one Gemm: the bias is added while the product is still in the accumulator.

    Before: Add(MatMul(x [m, k], W [k, n]), bias [n])
    After:  Gemm(x, W, bias)

In floating point a MatMul alone is as fast as a Gemm. On integers it is not: onnxruntime has an integer Gemm kernel (QGemm)
that takes a scale for each column, so there every product becomes one (`without_bias`).
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import take_over
from edgeopt.graph.matching import constant, is_float, is_standard, rank, sole_consumer, static_shape
from edgeopt.passes.rewrite import Rewrite


class Gemm(Rewrite):
    """Make products of a matrix by a constant one Gemm; counts them."""

    def __init__(self, *, without_bias: bool = False) -> None:
        """Rewrite products with a bias, and those without one if asked to."""
        self._without_bias = without_bias

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every product with two axes; the Gemm keeps the node, and has the output of the Add."""
        return sum(_rewrite(model.graph, node, self._without_bias) for node in list(model.graph) if is_standard(node, "MatMul"))


def _rewrite(graph: ir.Graph, node: ir.Node, without_bias: bool) -> bool:
    x, weight = node.inputs
    if constant(weight) is None or constant(x) is not None or rank(weight) != 2 or rank(x) != 2 or not is_float(x):
        return False
    product = node.outputs[0]
    add = sole_consumer(product, "Add")
    bias = _bias(add, product, (static_shape(weight) or (0, 0))[1]) if add is not None else None
    if bias is None and not without_bias:
        return False
    node.op_type = "Gemm"
    if add is not None and bias is not None:
        node.resize_inputs(3)
        node.replace_input_with(2, bias)
        add.replace_input_with(0, None)
        add.replace_input_with(1, None)
        take_over(add.outputs[0], product)
        graph.remove(add, safe=True)
    return True


def _bias(add: ir.Node, product: ir.Value, width: int) -> ir.Value | None:
    other = next((value for value in add.inputs if value is not product), None)
    return other if constant(other) is not None and static_shape(other) == (width,) else None
