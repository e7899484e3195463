"""Rotary position embedding (https://arxiv.org/abs/2104.09864) is one node, not seven.

From opset 23 on ONNX has RotaryEmbedding; torch's exporter writes what the Python says:

    Before: cos = Cos(Concat(f, f))  [batch, sequence, d]         x [batch, heads, sequence, d]
            Add(Mul(x, Unsqueeze(cos, 1)), Mul(Concat(Neg(Slice(x, d/2:)), Slice(x, :d/2)), Unsqueeze(sin, 1)))
    After:  RotaryEmbedding(x, Slice(cos, :d/2), Slice(sin, :d/2))

The node takes the angles once, where Python repeats them; so the graph must show that both halves of cos and sin are equal.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, new_node, opset_of, take_over
from edgeopt.graph.matching import attribute, constant, int64, integers, produced_by, rank
from edgeopt.passes.rewrite import Rewrite

_FIRST_OPSET = 23
_ELEMENTWISE = {"Cast", "Cos", "Mul", "Sin"}


class FuseRotary(Rewrite):
    """Make rotations of the two halves of a head single nodes."""

    def rewrite(self, model: ir.Model) -> int:
        """Fuse every rotation; below opset 23 there is nothing to fuse them to."""
        if opset_of(model) < _FIRST_OPSET:
            return 0
        halves: dict[ir.Value, ir.Value] = {}
        changed = [node for node in list(model.graph) if node.op_type == "Add" and _fuse(model.graph, node, halves)]
        return len(changed)


def _fuse(graph: ir.Graph, add: ir.Node, known: dict[ir.Value, ir.Value]) -> bool:
    """Fuse the rotation that ends with `add`, if one does; `known` has the first halves that were cut off so far."""
    for straight, turned in _orders(add):
        for x, cos in _orders(produced_by(straight, "Mul")):
            for halves, sin in _orders(produced_by(turned, "Mul")):
                if x is None or rank(x) != 4 or not _is_turned(halves, x):
                    continue
                angles = [angle for value in (cos, sin) if (angle := _per_position(value, x)) is not None]
                if len(angles) < 2:
                    continue
                for angle in angles:
                    known[angle] = known.get(angle) or _first_half(graph, add, angle, x)
                rotated = new_node(add, "RotaryEmbedding", [x, *(known[angle] for angle in angles)])
                graph.insert_before(add, rotated)
                take_over(add.outputs[0], rotated.outputs[0])
                return True
    return False


def _orders(node: ir.Node | None) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
    """Yield both orders of the operands of a commutative node."""
    if node is not None:
        yield node.inputs[0], node.inputs[1]
        yield node.inputs[1], node.inputs[0]


def _width(x: ir.Value) -> int | None:
    size = x.shape[-1] if x.shape is not None else None
    return size if isinstance(size, int) and size % 2 == 0 else None


def _is_turned(value: ir.Value | None, x: ir.Value) -> bool:
    """Return whether `value` is (-x₂, x₁) for the halves of the last axis of x = (x₁, x₂)."""
    joined = produced_by(value, "Concat")
    if joined is None or len(joined.inputs) != 2 or attribute(joined, "axis") not in {-1, 3}:
        return False
    negated = produced_by(joined.inputs[0], "Neg")
    size = _width(x)
    if negated is None or size is None:
        return False
    return _is_slice(negated.inputs[0], x, size // 2, size) and _is_slice(joined.inputs[1], x, 0, size // 2)


def _is_slice(value: ir.Value | None, x: ir.Value, start: int, end: int) -> bool:
    node = produced_by(value, "Slice")
    if node is None or node.inputs[0] is not x or len(node.inputs) < 4:
        return False
    starts, ends, axes = (integers(bound) for bound in node.inputs[1:4])
    steps = integers(node.inputs[4]) if len(node.inputs) > 4 else [1]
    if starts is None or ends is None or axes not in ([3], [-1]) or steps != [1] or len(starts) != 1 or len(ends) != 1:
        return False
    size = 2 * (end - start)
    return starts[0] % size == start and (min(ends[0], size) if ends[0] >= 0 else ends[0] + size) == end


def _per_position(value: ir.Value | None, x: ir.Value) -> ir.Value | None:
    """Return cos or sin as [batch of x or 1, sequence, d] if `value` is that with an axis for heads and equal halves."""
    node = produced_by(value, "Unsqueeze")
    if node is None or integers(node.inputs[1]) != [1]:
        return None
    angle = node.inputs[0]
    if angle is None or angle.shape is None or x.shape is None or rank(angle) != 3 or angle.shape[0] not in {1, x.shape[0]}:
        return None
    return angle if _repeats(angle) else None


def _repeats(value: ir.Value | None) -> bool:
    """Return whether the halves of the last axis are equal: computed element by element from a tensor joined with itself."""
    node = value.producer() if value is not None else None
    if node is None:
        return False
    if node.op_type == "Concat":
        return len(node.inputs) == 2 and node.inputs[0] is node.inputs[1] and attribute(node, "axis") in {-1, 2}
    if node.op_type not in _ELEMENTWISE:
        return False
    factors = [item for item in node.inputs if (tensor := constant(item)) is None or tensor.size != 1]
    return len(factors) == 1 and _repeats(factors[0])


def _first_half(graph: ir.Graph, before: ir.Node, angle: ir.Value, x: ir.Value) -> ir.Value:
    """Return angles [batch, sequence, d/2] for `x`, which the node wants for each sample, also where all have the same."""
    half = _without_repeat(graph, angle)
    if angle.shape is None or angle.shape[0] != 1:
        return half
    batch = new_node(before, "Shape", [x], start=0, end=1)
    batch.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    whole = new_node(before, "Concat", [batch.outputs[0], add_initializer(graph, "same", int64(1, 1))], axis=0)
    whole.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    each = new_node(before, "Expand", [half, whole.outputs[0]])
    each.outputs[0].type = angle.type
    graph.insert_before(before, [batch, whole, each])
    return each.outputs[0]


def _without_repeat(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Compute `value`, of which `_repeats` holds, from the tensor that was joined with itself instead: its first half."""
    node = value.producer()
    if node is None or node.op_type == "Concat":
        half = node.inputs[0] if node is not None else None
        if half is None:
            raise ValueError(f"{value.name} is not joined from halves")
        return half
    inputs = [item if item is None or (constant(item) is not None) else _without_repeat(graph, item) for item in node.inputs]
    same = ir.node(node.op_type, inputs, node.attributes, metadata_props=dict(node.metadata_props))
    result = same.outputs[0]
    result.type = value.type
    if value.shape is not None and isinstance(value.shape[-1], int):
        result.shape = ir.Shape([*value.shape[:-1], value.shape[-1] // 2])
    graph.insert_before(node, same)
    return result
