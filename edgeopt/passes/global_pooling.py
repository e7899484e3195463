"""Means over the image as GlobalAveragePool, which has an integer kernel; ReduceMean has none.

Before: ReduceMean(x [n, c, h, w], axes 2 and 3, keepdims)
After:  GlobalAveragePool(x)

Before: ReduceMean(x [n, c, h, w], axes 2 and 3)
After:  Flatten(GlobalAveragePool(x))
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import fresh_name, new_node, take_over
from edgeopt.graph.matching import attribute, integers, is_float, is_standard, rank
from edgeopt.passes.rewrite import Rewrite


class GlobalPooling(Rewrite):
    """Make means over the last two of four axes pools; counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every mean of float32 or float16 whose axes are constant; the pool has no kernel for other types."""
        means = [node for node in model.graph if is_standard(node, "ReduceMean") and is_float(node.inputs[0])]
        found = [node for node in means if _axes(node) == [2, 3]]
        for node in found:
            _rewrite(model.graph, node)
        return len(found)


def _axes(node: ir.Node) -> list[int]:
    """Return the axes of a mean over a tensor of four axes, sorted; none if they are not constant."""
    if rank(node.inputs[0]) != 4:
        return []
    axes = attribute(node, "axes")  # an attribute before operator set 18, an input since
    if axes is None and len(node.inputs) > 1:
        axes = integers(node.inputs[1])
    return sorted(axis % 4 for axis in axes or ())


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    old = node.outputs[0]
    pool = new_node(node, "GlobalAveragePool", [node.inputs[0]])
    pool.name, nodes = node.name, [pool]
    if not attribute(node, "keepdims", 1):
        nodes.append(new_node(node, "Flatten", [pool.outputs[0]], axis=1))
        nodes[1].name = f"{node.name}_flat"
        pool.outputs[0].name = fresh_name(graph, f"{old.name}_pooled")
    graph.insert_before(node, nodes)
    take_over(old, nodes[-1].outputs[0])
    graph.remove(node, safe=True)
