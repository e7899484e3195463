"""Attention on [batch, sequence, heads · size] instead of [batch, heads, sequence, size].

ONNX's Attention takes either layout (https://onnx.ai/onnx/operators/onnx__Attention.html); with three axes the heads are split
and joined inside the operator, and the transposes around it go. A rotation of query or key takes either layout, too; a cache
keeps its four axes.

    Before: a = Attention(Rotary(Transpose(Reshape(q))), Rotary(Transpose(Reshape(k))), Transpose(Reshape(v)), mask, past…)
            y = Reshape(Transpose(a))
    After:  y = Attention(Rotary(q, num_heads=h), Rotary(k, num_heads=g), v, mask, past…, q_num_heads=h, kv_num_heads=g)
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, new_node, take_over
from edgeopt.graph.matching import attribute, int64, integers, is_standard, known_axes, produced_by, rank, sole_consumer
from edgeopt.passes.rewrite import Rewrite

_HEADS_FIRST = (0, 2, 1, 3)


class AttentionLayout(Rewrite):
    """Give Attention nodes inputs and outputs of three axes where their transposes allow it; counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite every Attention whose query, key, value and output are all split and joined by reshapes."""
        return sum(_rewrite(model.graph, node) for node in list(model.graph) if is_standard(node, "Attention"))


@dataclass(frozen=True)
class _Heads:
    """A tensor [batch, sequence, heads, size] that is transposed for Attention, and rotated on the way where `rotation` is."""

    split: ir.Value
    heads: int
    size: int
    rotation: ir.Node | None


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    sources = [_before_heads(value) for value in node.inputs[:3]]
    joined = _after_heads(node.outputs[0])
    if joined is None or any(source is None for source in sources):
        return False
    query, key, value = (source for source in sources if source is not None)
    if key.heads != value.heads:
        return False
    for index, source in enumerate((query, key, value)):
        node.replace_input_with(index, _flat(graph, node, source))
    node.attributes["q_num_heads"] = ir.AttrInt64("q_num_heads", query.heads)
    node.attributes["kv_num_heads"] = ir.AttrInt64("kv_num_heads", key.heads)
    width = query.heads * value.size
    shape = ir.Shape([*joined.shape[:2], width]) if joined.shape is not None else None
    take_over(joined, node.outputs[0])
    node.outputs[0].shape = shape
    return True


def _before_heads(value: ir.Value | None) -> _Heads | None:
    """Return the tensor [batch, sequence, heads, size] that `value` is, with its middle axes swapped and perhaps rotated."""
    rotation = produced_by(value, "RotaryEmbedding")
    transpose = produced_by(rotation.inputs[0] if rotation is not None else value, "Transpose")
    if transpose is None or tuple(attribute(transpose, "perm", ())) != _HEADS_FIRST:
        return None
    split = transpose.inputs[0]
    if split is None or split.shape is None or rank(split) != 4:
        return None
    heads, size = split.shape[2], split.shape[3]
    return _Heads(split, heads, size, rotation) if isinstance(heads, int) and isinstance(size, int) else None


def _flat(graph: ir.Graph, before: ir.Node, source: _Heads) -> ir.Value:
    """Return `source` as [batch, sequence, heads · size]: what it was split from or a Reshape of it, rotated if it was."""
    flat = _whole(source)
    if flat is None:
        target = add_initializer(graph, "flat_heads", int64(0, 0, source.heads * source.size))
        reshape = new_node(before, "Reshape", [source.split, target])
        flat = _described(reshape, source)
        graph.insert_before(before, reshape)
    if source.rotation is None:
        return flat
    kept = {name: found.value for name, found in source.rotation.attributes.items()}
    inputs = [flat, *source.rotation.inputs[1:]]
    rotation = new_node(source.rotation, "RotaryEmbedding", inputs, **{**kept, "num_heads": source.heads})
    graph.insert_before(before, rotation)
    return _described(rotation, source)


def _whole(source: _Heads) -> ir.Value | None:
    """Return the tensor of three axes that `source` was split from."""
    reshape = produced_by(source.split, "Reshape")
    whole = reshape.inputs[0] if reshape is not None else None
    if whole is None or whole.shape is None or source.split.shape is None:
        return None
    return whole if _is_joined(whole, source.split, source.heads * source.size) else None


def _is_joined(value: ir.Value, split: ir.Value, width: int) -> bool:
    """Return whether `value` is known to be [batch, sequence, width] where `split` is [batch, sequence, heads, size]."""
    axes, apart = known_axes(value), known_axes(split)
    return axes is not None and apart is not None and axes == (*apart[:2], width)


def _described(node: ir.Node, source: _Heads) -> ir.Value:
    """Return the output of `node` after noting its type and shape."""
    output: ir.Value = node.outputs[0]
    output.type = source.split.type
    if source.split.shape is not None:
        output.shape = ir.Shape([*source.split.shape[:2], source.heads * source.size])
    return output


def _after_heads(output: ir.Value) -> ir.Value | None:
    """Return what the heads of `output` are joined to: [batch, sequence, heads · size].

    Where torch joined heads and rows in one Reshape, that one is kept: returned is what it reads.
    """
    transpose = sole_consumer(output, "Transpose")
    if transpose is None or tuple(attribute(transpose, "perm", ())) != _HEADS_FIRST:
        return None
    split = transpose.outputs[0]
    reshape = sole_consumer(split, "Reshape")
    if reshape is None or split.shape is None or rank(split) != 4:
        return None
    heads, size = split.shape[2], split.shape[3]
    if not isinstance(heads, int) or not isinstance(size, int):
        return None
    joined = reshape.outputs[0]
    target = integers(reshape.inputs[1])
    if _is_joined(joined, split, heads * size) or (target == [0, 0, heads * size] and not attribute(reshape, "allowzero", 0)):
        return joined
    return split if target == [-1, heads * size] else None
