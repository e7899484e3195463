"""SiLU behind a DequantizeLinear as onnxruntime's one kernel for it.

Before: q → DequantizeLinear → x → Sigmoid ─┐
                                └────────── Mul → y
After:  q → DequantizeLinear → x → QuickGelu (alpha = 1) → y

onnxruntime fuses the pair by itself, except here: it first gives every consumer of a DequantizeLinear one of its own, and then
no longer sees that both read the same tensor. Two conversions and two kernels take three times as long as one of each.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import import_contrib_operators, new_node, take_over
from edgeopt.graph.matching import is_standard, produced_by, sole_consumer
from edgeopt.passes.rewrite import Rewrite


class QuickGelu(Rewrite):
    """Write x · sigmoid(x) behind a DequantizeLinear as one contrib operator."""

    def rewrite(self, model: ir.Model) -> int:
        """Replace every such pair of the main graph; return how many there were."""
        count = sum(_replace(model.graph, node) for node in list(model.graph))
        if count:
            import_contrib_operators(model)
        return count


def silu(node: ir.Node) -> ir.Node | None:
    """Return the Mul of x · sigmoid(x) for its Sigmoid, which onnxruntime computes as one kernel in floating point."""
    product = sole_consumer(node.outputs[0], "Mul") if is_standard(node, "Sigmoid") else None
    return product if product is not None and node.inputs[0] in product.inputs else None


def _replace(graph: ir.Graph, sigmoid: ir.Node) -> bool:
    product = silu(sigmoid)
    if product is None or produced_by(sigmoid.inputs[0], "DequantizeLinear") is None:
        return False
    fused = new_node(product, "QuickGelu", [sigmoid.inputs[0]], alpha=1.0)
    fused.domain, fused.name = "com.microsoft", product.name
    graph.insert_before(product, fused)
    take_over(product.outputs[0], fused.outputs[0])
    graph.remove([product, sigmoid], safe=True)
    return True
