"""A rotation of the first part of each head is one node on the whole head.

Phi and GLM rotate some of a head's features and keep the rest; RotaryEmbedding has an attribute for that:

    Before: Concat(RotaryEmbedding(Slice(x, :r), cos, sin), Slice(x, r:))       on [batch, heads, sequence, size]
    After:  RotaryEmbedding(x, cos, sin, rotary_embedding_dim=r)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import new_node, take_over
from edgeopt.graph.matching import attribute, integers, is_standard, produced_by, rank
from edgeopt.passes.rewrite import Rewrite


class PartialRotary(Rewrite):
    """Let rotations take whole heads; counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Fuse every Concat of a rotated first part and the rest."""
        return sum(_fuse(model.graph, node) for node in list(model.graph) if is_standard(node, "Concat"))


def _fuse(graph: ir.Graph, joined: ir.Node) -> bool:
    if len(joined.inputs) != 2 or attribute(joined, "axis") not in {-1, 3} or rank(joined.outputs[0]) != 4:
        return False
    rotation = produced_by(joined.inputs[0], "RotaryEmbedding")
    if rotation is None or attribute(rotation, "num_heads", 0) or attribute(rotation, "rotary_embedding_dim", 0):
        return False
    first, rest = _part(rotation.inputs[0]), _part(joined.inputs[1])
    if first is None or rest is None or first[0] is not rest[0] or first[1] != 0 or first[2] != rest[1] or rest[2] is not None:
        return False
    width = first[2]
    if width is None or rotation.inputs[0] is None or len(rotation.inputs) != 3:
        return False
    kept = {name: attribute.value for name, attribute in rotation.attributes.items()}
    whole = new_node(joined, "RotaryEmbedding", [first[0], *rotation.inputs[1:]], **{**kept, "rotary_embedding_dim": width})
    graph.insert_before(joined, whole)
    take_over(joined.outputs[0], whole.outputs[0])
    return True


def _part(value: ir.Value | None) -> tuple[ir.Value, int, int | None] | None:
    """Return what `value` is a slice of along the last of four axes, its start, and its end (None: the end of the axis)."""
    node = produced_by(value, "Slice")
    if node is None or node.inputs[0] is None or len(node.inputs) < 4:
        return None
    starts, ends, axes = (integers(bound) for bound in node.inputs[1:4])
    steps = integers(node.inputs[4]) if len(node.inputs) > 4 else [1]
    source = node.inputs[0]
    if source.shape is None or starts is None or ends is None or axes not in ([3], [-1]) or steps != [1]:
        return None
    size = source.shape[-1]
    if not isinstance(size, int):
        return None
    start = starts[0] if starts[0] >= 0 else starts[0] + size
    end = min(ends[0], size) if ends[0] >= 0 else ends[0] + size
    return source, start, None if end == size else end
