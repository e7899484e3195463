"""Attention on [batch, sequence, heads · size] instead of [batch, heads, sequence, size].

ONNX's Attention takes either layout (https://onnx.ai/onnx/operators/onnx__Attention.html); with three axes the heads are split
and joined inside the operator, and the transposes around it go.

    Before: Transpose(Attention(Transpose(Reshape(q)), Transpose(Reshape(k)), Transpose(Reshape(v)), mask)) → Reshape
    After:  Attention(q, k, v, mask, q_num_heads=h, kv_num_heads=g)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.export.passes.matching import attribute, rank, sole_user, take_over

_HEADS_FIRST = (0, 2, 1, 3)


class AttentionLayout(ir.passes.InPlacePass):
    """Give Attention nodes inputs and outputs of three axes where their transposes allow it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Attention whose query, key, value and output are all split and joined by reshapes."""
        changed = [node for node in model.graph if node.op_type == "Attention" and _rewrite(node)]
        return ir.passes.PassResult(model, modified=bool(changed))


def _rewrite(node: ir.Node) -> bool:
    if len([value for value in node.inputs if value is not None]) > 4 or len(node.inputs) > 4:
        return False  # a cache keeps four axes
    sources = [_before_heads(value) for value in node.inputs[:3]]
    joined = _after_heads(node.outputs[0])
    if joined is None or len(node.outputs) > 1 or any(source is None for source in sources):
        return False
    (query, heads), (key, groups), (value, value_groups) = (source for source in sources if source is not None)
    if groups != value_groups:
        return False
    for index, source in enumerate((query, key, value)):
        node.replace_input_with(index, source)
    node.attributes["q_num_heads"] = ir.AttrInt64("q_num_heads", heads)
    node.attributes["kv_num_heads"] = ir.AttrInt64("kv_num_heads", groups)
    take_over(joined, node.outputs[0])
    return True


def _before_heads(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """Return the [batch, sequence, heads · size] tensor that `value` was split from, and the number of heads."""
    transpose = value.producer() if value is not None else None
    if transpose is None or transpose.op_type != "Transpose" or tuple(attribute(transpose, "perm", ())) != _HEADS_FIRST:
        return None
    reshape = transpose.inputs[0].producer() if transpose.inputs[0] is not None else None
    if reshape is None or reshape.op_type != "Reshape":
        return None
    whole, split = reshape.inputs[0], reshape.outputs[0]
    if whole is None or whole.shape is None or split.shape is None or rank(whole) != 3 or rank(split) != 4:
        return None
    heads, size = split.shape[2], split.shape[3]
    if not isinstance(heads, int) or not isinstance(size, int) or list(whole.shape) != [*split.shape[:2], heads * size]:
        return None
    return whole, heads


def _after_heads(output: ir.Value) -> ir.Value | None:
    """Return the [batch, sequence, heads · size] tensor that `output` is joined to."""
    transpose = sole_user(output, "Transpose")
    if transpose is None or tuple(attribute(transpose, "perm", ())) != _HEADS_FIRST:
        return None
    reshape = sole_user(transpose.outputs[0], "Reshape")
    split = transpose.outputs[0].shape
    if reshape is None or split is None or len(split) != 4:
        return None
    joined, heads, size = reshape.outputs[0], split[2], split[3]
    if joined.shape is None or not isinstance(heads, int) or not isinstance(size, int):
        return None
    return joined if list(joined.shape) == [*split[:2], heads * size] else None
