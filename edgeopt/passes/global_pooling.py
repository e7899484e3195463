"""Means over the picture as GlobalAveragePool, which has an integer kernel; ReduceMean has none.

Before: x [n, c, h, w] → ReduceMean (axes 2, 3, keepdims)        After: x → GlobalAveragePool
Before: x [n, c, h, w] → ReduceMean (axes 2, 3)                  After: x → GlobalAveragePool → Flatten
"""

from __future__ import annotations

import onnx
from onnx import helper

from edgeopt.graph.index import GraphIndex, attribute


def pool_means(model: onnx.ModelProto) -> int:
    """Rewrite the means over the last two of four axes; return how many."""
    index = GraphIndex(model.graph)
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or _axes(node, index) != [2, 3] or index.rank(node.input[0]) != 4:
            nodes.append(node)
            continue
        count += 1
        kept = attribute(node, "keepdims", 1)
        pooled = node.output[0] if kept else f"{node.output[0]}_pooled"
        nodes.append(helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], node.name))
        if not kept:
            nodes.append(helper.make_node("Flatten", [pooled], [node.output[0]], f"{node.name}_flat", axis=1))
    if count:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return count


def _axes(node: onnx.NodeProto, index: GraphIndex) -> list[int]:
    """Return the axes of a mean over a tensor of four axes, sorted; none if they are not constant."""
    axes = attribute(node, "axes")  # an attribute before operator set 18, an input since
    if axes is None and len(node.input) > 1:
        constant = index.constant(node.input[1])
        axes = None if constant is None else constant.tolist()
    return sorted(axis % 4 for axis in axes) if isinstance(axes, list) else []
