"""Query, key and value that one product packs are parts of it, split before the heads are.

ModernBERT views its product as [batch, sequence, 3, heads, size] and takes three slices, in which heads no longer lie side by
side in the way `attention_layout` knows:

    Before: p = Reshape(x, [batch, sequence, n, heads, size]);  Squeeze(Slice(p, i, i + 1, axis 2))     for i < n
    After:  parts = Split(x, n, axis -1);  Reshape(partᵢ, [0, 0, heads, size])
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, new_node, take_over
from edgeopt.graph.matching import int64, integers, produced_by, rank, sole_consumer
from edgeopt.passes.rewrite import Rewrite

_PACKED_AXIS = ([2], [-3])


class PackedHeads(Rewrite):
    """Split packed products along their features."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every view of which single slices of the third axis are all that is read."""
        changed = [node for node in list(model.graph) if node.op_type == "Reshape" and _rewrite(model.graph, node)]
        return len(changed)


def _rewrite(graph: ir.Graph, view: ir.Node) -> bool:
    whole, packed = view.inputs[0], view.outputs[0]
    if whole is None or whole.shape is None or packed.shape is None or rank(whole) != 3 or rank(packed) != 5:
        return False
    count, heads, size = packed.shape[2:]
    if not (isinstance(count, int) and isinstance(heads, int) and isinstance(size, int)) or packed.is_graph_output():
        return False
    if list(whole.shape) != [*packed.shape[:2], count * heads * size]:
        return False
    slices = list(packed.consumers())
    taken = [_part(node) for node in slices]
    if not slices or any(part is None for part in taken):
        return False
    split = ir.node("Split", [whole], {"axis": -1, "num_outputs": count}, num_outputs=count, metadata_props=view.metadata_props)
    target = add_initializer(graph, "packed_heads", int64(0, 0, heads, size))
    nodes = [split]
    for output in split.outputs:
        output.type, output.shape = whole.type, ir.Shape([*whole.shape[:2], heads * size])
    for index, squeeze in (part for part in taken if part is not None):
        nodes.append(new_node(squeeze, "Reshape", [split.outputs[index], target]))
        take_over(squeeze.outputs[0], nodes[-1].outputs[0])
    graph.insert_after(view, nodes)
    return True


def _part(node: ir.Node) -> tuple[int, ir.Node] | None:
    """Return which part of the packed axis the Slice `node` takes, and the Squeeze behind it."""
    if node.op_type != "Slice" or node.domain or len(node.inputs) < 4:
        return None
    start, end, axis = (integers(bound) for bound in node.inputs[1:4])
    step = integers(node.inputs[4]) if len(node.inputs) > 4 else [1]
    squeeze = sole_consumer(node.outputs[0], "Squeeze")
    if start is None or end is None or axis not in _PACKED_AXIS or step != [1] or end != [start[0] + 1] or start[0] < 0:
        return None
    if (
        squeeze is None
        or produced_by(squeeze.inputs[0], "Slice") is not node
        or integers(squeeze.inputs[1]) not in _PACKED_AXIS
    ):
        return None
    return start[0], squeeze
