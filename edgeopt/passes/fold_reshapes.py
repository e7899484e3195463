"""A Reshape of a Reshape is one Reshape, and one that changes nothing is none.

    Before: Reshape(Reshape(x, [batch, sequence, 384]), [-1, 384])
    After:  Reshape(x, [-1, 384]), or x where x has that shape already

Every Reshape that is left still copies its shape's zeros from its own input, so one with a zero is left alone.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.matching import attribute, integers
from edgeopt.passes.rewrite import Rewrite


class FoldReshapes(Rewrite):
    """Skip reshapes between reshapes."""

    def rewrite(self, model: ir.Model) -> int:
        """Let each Reshape read from before the one it follows; drop those that keep the shape."""
        count = 0
        for node in list(model.graph):
            if node.op_type == "Reshape":
                count += _skip_producer(node) + _drop_if_same(node)
        return count


def _skip_producer(node: ir.Node) -> bool:
    source = node.inputs[0]
    before = source.producer() if source is not None else None
    if before is None or before.op_type != "Reshape" or before.domain or _copies_sizes(node):
        return False
    node.replace_input_with(0, before.inputs[0])
    return True


def _copies_sizes(node: ir.Node) -> bool:
    """Return whether the target shape holds a 0, which means "as in the input"."""
    target = integers(node.inputs[1])
    return target is not None and 0 in target and not attribute(node, "allowzero", 0)


def _drop_if_same(node: ir.Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None or result.is_graph_output():
        return False
    if any(isinstance(size, ir.SymbolicDim) and size.value is None for size in result.shape) or source.shape != result.shape:
        return False
    result.replace_all_uses_with(source)
    return True
