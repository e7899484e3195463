"""Weights that are only ever read transposed are stored so.

torch's exporter does it for weights with one reader; layers that share their weights (ALBERT) keep a Transpose, which hides
from the passes behind this one that they are linear. An embedding that is also read as it is (tied) stays.

    Before: MatMul(x₁, Transpose(W));  MatMul(x₂, Transpose(W))
    After:  MatMul(x₁, Wᵀ);  MatMul(x₂, Wᵀ)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer
from edgeopt.graph.matching import attribute, constant, rank
from edgeopt.graph.tensors import derived
from edgeopt.passes.rewrite import Rewrite


class TransposedWeights(Rewrite):
    """Store matrices in the order in which all their readers want them."""

    def rewrite(self, model: ir.Model) -> int:
        """Replace every matrix all of whose readers are Transposes; what is an output of the model stays."""
        changed = [weight for weight in list(model.graph.initializers.values()) if _transpose(model.graph, weight)]
        return len(changed)


def _transpose(graph: ir.Graph, weight: ir.Value) -> bool:
    readers = set(weight.consumers())
    tensor = constant(weight)
    if tensor is None or rank(weight) != 2 or not readers or weight.is_graph_output():
        return False
    if any(node.op_type != "Transpose" or node.graph is not graph or node.outputs[0].is_graph_output() for node in readers):
        return False
    if any(tuple(attribute(node, "perm", (1, 0))) != (1, 0) for node in readers):
        return False
    turned = derived(tensor, lambda array: array.T)
    value = add_initializer(graph, f"{weight.name}_t", turned)
    for node in readers:
        node.outputs[0].replace_all_uses_with(value)
    return True
