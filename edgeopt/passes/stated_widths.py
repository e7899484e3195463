"""The width of attention's result, stated where ONNX's shape inference would take it for 0.

    Before: Attention(q, k, Reshape(v, sizes that the graph computes)) → Squeeze (axis 1) → Gemm
    After:  Attention(q, k, Reshape(v, …)) → Reshape ([-1, width]) → Gemm

With three axes the result is as wide as the values are. Where their shape is computed, inference knows it only from value_info,
and without that (another tool has dropped it) says 0, so that onnxruntime refuses the Gemm behind it. A file must not depend on
its value_info; what reads the result through a Reshape to a constant shape does not.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, insert_before, new_node, read_instead, take_over
from edgeopt.graph.matching import attribute, constant, int64, integers, produced_by
from edgeopt.passes.rewrite import Rewrite

_VALUES = 2


class StatedWidths(Rewrite):
    """Let a Reshape say how wide the result of an Attention on three axes is; counts the Reshapes."""

    def rewrite(self, model: ir.Model) -> int:
        """Reshape the result of every Attention whose values have a computed shape."""
        count = 0
        for node in list(model.graph):
            width = _computed_width(node)
            if width is not None:
                for reader in list(dict.fromkeys(use.node for use in node.outputs[0].uses())):
                    count += _state(model.graph, node.outputs[0], reader, width)
        return count


def _computed_width(node: ir.Node) -> int | None:
    """Return the width of an Attention's result if nothing but value_info says it."""
    if node.op_type != "Attention" or node.domain or not attribute(node, "q_num_heads", 0):
        return None
    values = produced_by(node.inputs[_VALUES], "Reshape")
    if values is None or constant(values.inputs[1]) is not None:
        return None
    shape = node.outputs[0].shape
    return shape[2] if shape is not None and isinstance(shape[2], int) else None


def _state(graph: ir.Graph, result: ir.Value, reader: ir.Node, width: int) -> bool:
    if reader.op_type == "Reshape" and constant(reader.inputs[1]) is not None:
        return False
    if reader.op_type == "Squeeze" and len(reader.inputs) > 1 and integers(reader.inputs[1]) == [1]:
        flat = new_node(reader, "Reshape", [result, add_initializer(graph, "one_row", int64(-1, width))])
        graph.insert_before(reader, flat)
        take_over(reader.outputs[0], flat.outputs[0])
        graph.remove(reader, safe=True)
        return True
    wide = new_node(reader, "Reshape", [result, add_initializer(graph, "stated_width", int64(0, 0, width))])
    insert_before(graph, reader, wide, f"{result.name}_stated", result.shape)
    read_instead(reader, result, wide.outputs[0])
    return True
