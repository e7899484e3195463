"""The cache of a decoder goes into Attention, which lengthens it itself.

    Before: present_k = Concat(past_k, k);  present_v = Concat(past_v, v)         [batch, heads, sequence, size], axis 2
            y = Attention(q, present_k, present_v, mask)
    After:  y, present_k, present_v = Attention(q, k, v, mask, past_k, past_v)

New keys and values then need no layout of their own (`attention_layout`). A causal Attention is left alone: ONNX lines its
triangle up with the first key where there is no past, and with the last where there is one. So is one whose lengthened cache
is no output: onnxruntime's kernel takes a past only where the presents are used.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import take_over
from edgeopt.graph.matching import attribute, produced_by, rank
from edgeopt.passes.rewrite import Rewrite


def has_cache(graph: ir.Graph) -> bool:
    """Return whether `graph` returns one of its inputs, lengthened: a decoder, which runs once for every token."""
    joined = [node for value in graph.outputs if (node := produced_by(value, "Concat")) is not None]
    return any(value is not None and value.is_graph_input() for node in joined for value in node.inputs)


class FuseCache(Rewrite):
    """Give every Attention over a lengthened cache the cache and what is new apart."""

    def rewrite(self, model: ir.Model) -> int:
        """Fuse where key and value are both joined from a past and new ones, for one Attention alone."""
        changed = [node for node in list(model.graph) if node.op_type == "Attention" and _fuse(model.graph, node)]
        return len(changed)


def _fuse(graph: ir.Graph, node: ir.Node) -> bool:
    joined = [_lengthened(value, node) for value in node.inputs[1:3]]
    if len(node.inputs) > 4 or len(node.outputs) > 1 or attribute(node, "is_causal", 0) or None in joined:
        return False
    key, value = (concat for concat in joined if concat is not None)
    if not (key.outputs[0].is_graph_output() and value.outputs[0].is_graph_output()):
        return False
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    inputs = [node.inputs[0], key.inputs[1], value.inputs[1], mask, key.inputs[0], value.inputs[0]]
    fused = ir.node("Attention", inputs, node.attributes, num_outputs=3, metadata_props=dict(node.metadata_props))
    graph.insert_before(node, fused)
    for old, new in zip((node.outputs[0], key.outputs[0], value.outputs[0]), fused.outputs, strict=True):
        take_over(old, new)
    graph.remove([node, key, value], safe=True)
    return True


def _lengthened(value: ir.Value | None, attention: ir.Node) -> ir.Node | None:
    """Return the Concat of past and new steps that produces `value` for `attention` alone."""
    concat = produced_by(value, "Concat")
    if value is None or concat is None or len(concat.inputs) != 2 or rank(value) != 4 or set(value.consumers()) != {attention}:
        return None
    return concat if attribute(concat, "axis") in {2, -2} else None
