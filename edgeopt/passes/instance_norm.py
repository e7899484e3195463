"""A group norm with a group for each channel is an instance norm, for which onnxruntime has a kernel.

It has none for GroupNormalization, which it takes apart into a dozen nodes that each go over the whole tensor (the first
layer of Wav2Vec2 and HuBERT):

    Before: GroupNormalization(x [n, c, …], scale [c], bias [c], num_groups=c)
    After:  InstanceNormalization(x, scale, bias)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import new_node, take_over
from edgeopt.graph.matching import attribute, static_shape

_FIRST_OPSET = 21
"""Before it, scale and bias had an element for each group."""


class InstanceNorm(ir.passes.InPlacePass):
    """Make group norms over single channels instance norms."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace every group norm that has as many groups as its scale has channels."""
        changed = False
        if (model.opset_imports.get("") or 0) >= _FIRST_OPSET:
            for node in list(model.graph):
                changed = (node.op_type == "GroupNormalization" and not node.domain and _replace(model.graph, node)) or changed
        return ir.passes.PassResult(model, modified=changed)


def _replace(graph: ir.Graph, node: ir.Node) -> bool:
    scale = node.inputs[1]
    if scale is None or static_shape(scale) != (attribute(node, "num_groups"),):
        return False
    norm = new_node(node, "InstanceNormalization", node.inputs, epsilon=attribute(node, "epsilon", 1e-5))
    graph.insert_before(node, norm)
    take_over(node.outputs[0], norm.outputs[0])
    return True
