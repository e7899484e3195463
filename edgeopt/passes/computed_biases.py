"""A Gemm whose bias is computed is a product and an Add: integer kernels take constant biases alone.

    Before: Gemm(x, W, c)                 c = Gemm(s, U), as in the gates of a recurrent cell: x·W + s·U
    After:  Add(Gemm(x, W), c)

onnxruntime's basic rewrites make such Gemms of MatMul and Add. In floating point they are as fast; on integers they would stay
floating.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import fresh_name, new_node
from edgeopt.graph.matching import attribute, constant, is_standard
from edgeopt.passes.rewrite import Rewrite


class ComputedBiases(Rewrite):
    """Take computed biases out of Gemms with constant weights; counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every such Gemm; the Add has its output, under its name."""
        found = [node for node in model.graph if is_standard(node, "Gemm") and _has_computed_bias(node)]
        for node in found:
            _split(model.graph, node)
        return len(found)


def _has_computed_bias(node: ir.Node) -> bool:
    if len(node.inputs) < 3 or node.inputs[2] is None or constant(node.inputs[1]) is None:
        return False
    return constant(node.inputs[2]) is None and attribute(node, "beta", 1.0) == 1.0


def _split(graph: ir.Graph, node: ir.Node) -> None:
    result, bias = node.outputs[0], node.inputs[2]
    product = new_node(node, "Gemm", list(node.inputs[:2]))
    for name in ("alpha", "transA", "transB"):
        if name in node.attributes:
            product.attributes[name] = node.attributes[name]
    product.name, product.outputs[0].name = node.name, fresh_name(graph, f"{result.name}_product")
    product.outputs[0].shape = result.shape
    add = new_node(node, "Add", [product.outputs[0], bias])
    add.name, add.outputs[0].shape = f"{node.name}_bias", result.shape
    name = result.name or ""
    graph.insert_before(node, [product, add])
    result.name = fresh_name(graph, f"{name}_before")
    result.replace_all_uses_with(add.outputs[0], replace_graph_outputs=True)
    add.outputs[0].name = name
    graph.remove(node, safe=True)
