"""Biases of Gemm are vectors, with an element for each column, which is the form that quantizes.

Before: Gemm(x, W [k, n], bias [1, n], [1] or [])
After:  Gemm(x, W, bias [n])
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, remove_unused
from edgeopt.graph.matching import array, attribute, is_standard, static_shape
from edgeopt.passes.rewrite import Rewrite


class BiasVectors(Rewrite):
    """Give constant biases of Gemm a vector's shape; a bias for each row stays. Counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every Gemm whose bias has one element, or one for each column, in another shape."""
        count = sum(_rewrite(model.graph, node) for node in model.graph if is_standard(node, "Gemm"))
        if count:
            remove_unused(model)
        return count


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    shape = static_shape(node.inputs[1])
    value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = array(value)
    if value is None or bias is None or shape is None:
        return False
    size = shape[0] if attribute(node, "transB", 0) else shape[1]
    in_columns = bias.size == 1 or (bias.size == size and bias.shape[-1] == size)  # [rows, 1] may have as many elements
    if bias.shape == (size,) or not in_columns:
        return False
    vector = np.broadcast_to(bias.reshape(-1), (size,)).copy()
    node.replace_input_with(2, add_initializer(graph, f"{value.name}_of_{node.name}", vector))
    return True
