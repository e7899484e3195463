"""A residual Add and the root mean square norm behind it are one node: onnxruntime's SkipSimplifiedLayerNormalization.

    Before: s = Add(x, y);  n = RMSNormalization(s, weight)             s is read again by the next residual Add
    After:  n, _, _, s = SkipSimplifiedLayerNormalization(x, y, weight)

With the one row of a token a node costs more than its arithmetic, so two nodes fewer per layer are worth their place. The same
kernel for LayerNormalization is slower than its parts (docs/log/quantize.md) and is not used.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import import_contrib_operators, take_over
from edgeopt.graph.matching import attribute, constant, is_standard, known_axes, name_of, produced_by, rank
from edgeopt.passes.rewrite import Rewrite


class SkipNorms(Rewrite):
    """Fuse residual Adds into the norms behind them; counts norms."""

    def rewrite(self, model: ir.Model) -> int:
        """Fuse every norm over the last of three axes whose input is the sum of two tensors of the same shape."""
        changed = [node for node in list(model.graph) if is_standard(node, "RMSNormalization") and _fuse(model.graph, node)]
        if changed:
            import_contrib_operators(model)
        return len(changed)


def _fuse(graph: ir.Graph, norm: ir.Node) -> bool:
    total, weight = norm.inputs[0], norm.inputs[1]
    add = produced_by(total, "Add")
    if add is None or total is None or weight is None or rank(total) != 3 or total.is_graph_output():
        return False
    axes = [known_axes(value) for value in add.inputs]
    if axes[0] is None or axes[0] != axes[1] or any(constant(value) is not None for value in add.inputs):
        return False
    if attribute(norm, "axis", -1) not in {-1, 2} or not all(node.graph is graph for node in total.consumers()):
        return False
    fused = ir.node(
        "SkipSimplifiedLayerNormalization",
        [*add.inputs, weight],
        {"epsilon": float(attribute(norm, "epsilon", 1e-5))},
        domain="com.microsoft",
        num_outputs=4,
        metadata_props=dict(norm.metadata_props),
    )
    fused.name = name_of(norm)
    graph.insert_before(add, fused)
    fused.outputs[1].name = fused.outputs[2].name = ""
    take_over(norm.outputs[0], fused.outputs[0])
    take_over(total, fused.outputs[3])
    graph.remove([norm, add], safe=True)
    return True
