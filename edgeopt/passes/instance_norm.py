"""A group norm with a group for each channel is an instance norm, for which onnxruntime has a kernel.

It has none for GroupNormalization, which it takes apart into a dozen nodes that each go over the whole tensor (the first
layer of Wav2Vec2 and HuBERT):

    Before: GroupNormalization(x [n, c, …], scale [c], bias [c], num_groups=c)
    After:  InstanceNormalization(x, scale, bias)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import new_node, opset_of, take_over
from edgeopt.graph.matching import attribute, is_standard, static_shape
from edgeopt.passes.rewrite import Rewrite

_FIRST_OPSET = 21
"""Before it, scale and bias had an element for each group."""


class InstanceNorm(Rewrite):
    """Make group norms over single channels instance norms."""

    def rewrite(self, model: ir.Model) -> int:
        """Replace every group norm that has as many groups as its scale has channels."""
        if opset_of(model) < _FIRST_OPSET:
            return 0
        return sum(_replace(model.graph, node) for node in list(model.graph) if is_standard(node, "GroupNormalization"))


def _replace(graph: ir.Graph, node: ir.Node) -> bool:
    scale = node.inputs[1]
    if scale is None or static_shape(scale) != (attribute(node, "num_groups"),):
        return False
    norm = new_node(node, "InstanceNormalization", node.inputs, epsilon=attribute(node, "epsilon", 1e-5))
    graph.insert_before(node, norm)
    take_over(node.outputs[0], norm.outputs[0])
    return True
