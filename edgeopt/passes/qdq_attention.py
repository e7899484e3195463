"""The standard Attention operator fed with three axes, so that nobody transposes heads outside it.

Before: q [b, s, h·d] → Reshape [b, s, h, d] → Transpose [b, h, s, d] → Attention → Transpose → Reshape [b, s, h·d] → y
After:  q [b, s, h·d] → Attention (q_num_heads = h) → y
"""

from __future__ import annotations

import onnx
from onnx import helper

from edgeopt.graph.index import GraphIndex, attribute, remove_unread_nodes
from edgeopt.graph.shapes import KnownShapes

_SWAP = [0, 2, 1, 3]  # [b, s, h, d] ↔ [b, h, s, d]


def flatten_attention(model: onnx.ModelProto) -> int:
    """Rewrite every Attention whose Transposes and Reshapes match the above on all sides; return how many did."""
    graph = model.graph
    index = GraphIndex(graph)
    known = KnownShapes(graph)
    count = 0
    dropped: set[str] = set()
    for node in graph.node:
        if node.op_type != "Attention" or node.domain not in {"", "ai.onnx"} or len(node.output) > 1 or len(node.input) > 4:
            continue
        sides = [_heads_of(name, index, known) for name in node.input[:3]]
        result = _result(node, index, known)
        if result is None or any(side is None for side in sides):
            continue
        for position, side in enumerate(sides):
            if side is not None:
                node.input[position] = side[0]
        heads = [side[1] for side in sides if side is not None]
        node.attribute.append(helper.make_attribute("q_num_heads", heads[0]))
        node.attribute.append(helper.make_attribute("kv_num_heads", heads[1]))
        transpose, reshape = result
        dropped |= {transpose.name, reshape.name}
        node.output[0] = reshape.output[0]
        count += 1
    kept = [node for node in graph.node if node.name not in dropped]
    del graph.node[:]
    graph.node.extend(kept)
    remove_unread_nodes(graph)
    return count


def _heads_of(name: str, index: GraphIndex, known: KnownShapes) -> tuple[str, int] | None:
    """Return the flat tensor that `name` was cut into heads from, and the number of heads."""
    transpose = index.producer.get(name)
    reshape = _swapped(transpose, index)
    if reshape is None or reshape.op_type != "Reshape":
        return None
    shape, heads = known.of(name), None
    if shape is not None and len(shape) == 4:
        heads = shape[1]
    flat = known.of(reshape.input[0])
    if not isinstance(heads, int) or shape is None or not isinstance(shape[3], int) or flat is None:
        return None
    cut = known.of(transpose.input[0]) if transpose is not None else None
    if cut is None or len(flat) != 3 or flat[:2] != cut[:2] or None in flat or flat[2] != heads * shape[3]:
        return None
    return reshape.input[0], heads


def _swapped(transpose: onnx.NodeProto | None, index: GraphIndex) -> onnx.NodeProto | None:
    if transpose is None or transpose.op_type != "Transpose" or list(attribute(transpose, "perm", [])) != _SWAP:
        return None
    return index.producer.get(transpose.input[0])


def _result(node: onnx.NodeProto, index: GraphIndex, known: KnownShapes) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """Return the Transpose and the Reshape that put the heads together again."""
    transpose = index.sole_consumer(node.output[0])
    if transpose is None or transpose.op_type != "Transpose" or list(attribute(transpose, "perm", [])) != _SWAP:
        return None
    reshape = index.sole_consumer(transpose.output[0])
    apart, flat = known.of(transpose.output[0]), known.of(reshape.output[0]) if reshape is not None else None
    if reshape is None or reshape.op_type != "Reshape" or apart is None or flat is None or len(flat) != 3 or None in flat:
        return None
    if flat[:2] != apart[:2] or not isinstance(apart[2], int) or not isinstance(apart[3], int):
        return None
    return (transpose, reshape) if flat[2] == apart[2] * apart[3] else None
