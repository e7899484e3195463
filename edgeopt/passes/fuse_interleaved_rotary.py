"""A rotation of neighbouring features (GLM, GPT-J) is one node, not a dozen.

    Before: C = Reshape(Expand(Unsqueeze(c, -1), […, 2]))                      each angle twice, c [batch, 1, sequence, d/2]
            t = Reshape(Concat(Unsqueeze(Neg(x[1::2]), -1), Unsqueeze(x[::2], -1)))    neighbours swapped
            Add(Mul(x, C), Mul(t, S))                                          x [batch, heads, sequence, d]
    After:  RotaryEmbedding(x, Squeeze(c, 1), Squeeze(s, 1), interleaved=1)

`fuse_rotary` does the same where the halves of a head are rotated.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, new_node, opset_of, take_over
from edgeopt.graph.matching import attribute, int64, integers, is_standard, produced_by, rank
from edgeopt.passes.rewrite import Rewrite

_FIRST_OPSET = 23


class FuseInterleavedRotary(Rewrite):
    """Make rotations of neighbouring features single nodes."""

    def rewrite(self, model: ir.Model) -> int:
        """Fuse every rotation; below opset 23 there is nothing to fuse them to."""
        if opset_of(model) < _FIRST_OPSET:
            return 0
        return sum(_fuse(model.graph, node) for node in list(model.graph) if is_standard(node, "Add"))


def _fuse(graph: ir.Graph, add: ir.Node) -> bool:
    for straight, turned in (tuple(add.inputs), tuple(add.inputs[::-1])):
        for x, cos in _operands(straight):
            for swapped, sin in _operands(turned):
                angles = _half(cos, x), _half(sin, x)
                if x is None or rank(x) != 4 or None in angles or not _is_swapped(swapped, x):
                    continue
                squeezed = [_squeezed(graph, add, angle) for angle in angles if angle is not None]
                rotated = new_node(add, "RotaryEmbedding", [x, *squeezed], interleaved=1)
                graph.insert_before(add, rotated)
                take_over(add.outputs[0], rotated.outputs[0])
                return True
    return False


def _operands(value: ir.Value | None) -> list[tuple[ir.Value | None, ir.Value | None]]:
    """Return both orders of the operands of a product."""
    product = produced_by(value, "Mul")
    return [] if product is None else [(product.inputs[0], product.inputs[1]), (product.inputs[1], product.inputs[0])]


def _half(value: ir.Value | None, x: ir.Value | None) -> ir.Value | None:
    """Return the angles [batch, 1, sequence, d/2] of which `value` [batch, 1, sequence, d] has each twice, side by side."""
    reshape = produced_by(value, "Reshape")
    expand = produced_by(reshape.inputs[0], "Expand") if reshape is not None else None
    unsqueeze = produced_by(expand.inputs[0], "Unsqueeze") if expand is not None else None
    half = unsqueeze.inputs[0] if unsqueeze is not None and integers(unsqueeze.inputs[1]) in ([4], [-1]) else None
    if half is None or half.shape is None or x is None or x.shape is None or expand is None or value is None:
        return None
    twice, sizes = expand.outputs[0].shape, value.shape
    if rank(half) != 4 or half.shape[1] != 1 or twice is None or len(twice) != 5 or twice[4] != 2:
        return None
    if sizes is None or len(sizes) != 4 or sizes[3] != x.shape[3] or half.shape[0] != x.shape[0]:
        return None
    return half


def _is_swapped(value: ir.Value | None, x: ir.Value) -> bool:
    """Return whether `value` is (-x₁, x₀, -x₃, x₂, …) for x = (x₀, x₁, x₂, x₃, …)."""
    reshape = produced_by(value, "Reshape")
    stack = produced_by(reshape.inputs[0], "Concat") if reshape is not None else None
    if stack is None or len(stack.inputs) != 2 or attribute(stack, "axis") not in {-1, 4} or value is None:
        return False
    if value.shape is None or x.shape is None or len(value.shape) != 4 or value.shape[3] != x.shape[3]:
        return False
    first, second = (produced_by(part, "Unsqueeze") for part in stack.inputs)
    if first is None or second is None or any(integers(node.inputs[1]) not in ([4], [-1]) for node in (first, second)):
        return False
    negated = produced_by(first.inputs[0], "Neg")
    return negated is not None and _is_every_second(negated.inputs[0], x, 1) and _is_every_second(second.inputs[0], x, 0)


def _is_every_second(value: ir.Value | None, x: ir.Value, start: int) -> bool:
    node = produced_by(value, "Slice")
    if node is None or node.inputs[0] is not x or len(node.inputs) < 5 or x.shape is None:
        return False
    starts, ends, axes, steps = (integers(bound) for bound in node.inputs[1:5])
    size = x.shape[-1]
    reaches = isinstance(size, int) and ends is not None and ends[0] >= size
    return reaches and starts == [start] and axes in ([3], [-1]) and steps == [2]


def _squeezed(graph: ir.Graph, before: ir.Node, half: ir.Value) -> ir.Value:
    """Return angles [batch, sequence, d/2]."""
    node = new_node(before, "Squeeze", [half, add_initializer(graph, "heads_axis", int64(1))])
    node.outputs[0].type = half.type
    if half.shape is not None:
        node.outputs[0].shape = ir.Shape([half.shape[0], *half.shape[2:]])
    graph.insert_before(before, node)
    result: ir.Value = node.outputs[0]
    return result
