"""A query multiplied by a number is a scale of its Attention.

Many models scale the query themselves and ask for an attention that does not; the node's product scales for nothing.

    Before: Attention(Mul(q, 0.125), k, v, scale=1)
    After:  Attention(q, k, v, scale=0.125)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.matching import attribute, constant, produced_by
from edgeopt.passes.rewrite import Rewrite


class AttentionScale(Rewrite):
    """Move factors of queries into the scale of the Attention that reads them, also from before their heads are split."""

    def rewrite(self, model: ir.Model) -> int:
        """Fold every such factor; the query must have no other reader."""
        changed = [node for node in list(model.graph) if node.op_type == "Attention" and _fold(node)]
        return len(changed)


def _fold(node: ir.Node) -> bool:
    scale = attribute(node, "scale")
    multiply = _factor_of(node.inputs[0])
    if scale is None or multiply is None:
        return False
    for value, factor in (multiply.inputs, reversed(multiply.inputs)):
        tensor = constant(factor)
        if tensor is not None and tensor.shape.rank() == 0 and value is not None:
            number = float(tensor.numpy())
            if number <= 0:
                return False  # the operator takes the root of its scale
            multiply.outputs[0].replace_all_uses_with(value)
            node.attributes["scale"] = ir.AttrFloat32("scale", float(scale) * number)
            return True
    return False


def _factor_of(query: ir.Value | None) -> ir.Node | None:
    """Return the Mul that `query` comes from through nodes that only move elements, each with one reader."""
    value = query
    while value is not None and len(list(value.uses())) == 1 and not value.is_graph_output():
        multiply = produced_by(value, "Mul")
        if multiply is not None:
            return multiply
        moved = produced_by(value, "Transpose") or produced_by(value, "Reshape")
        value = moved.inputs[0] if moved is not None else None
    return None
