"""A Gemm between two reshapes is a product and a bias on three axes, like every other linear layer.

GPT-2's layers are written so (`Conv1D` calls `addmm` on rows). Passes that follow then see one form of linear layers, and
`flatten_rows` alone decides where rows are worth it.

    Before: Reshape(Gemm(Reshape(x, [-1, in]), W, b), [batch, sequence, out])
    After:  Add(MatMul(x, W), b)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import new_node, take_over
from edgeopt.graph.matching import attribute, constant, produced_by, rank, sole_consumer, static_shape
from edgeopt.passes.rewrite import Rewrite


class PlainProducts(Rewrite):
    """Take reshapes to rows and back from around Gemm nodes with constant weights."""

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite where the two reshapes undo each other."""
        changed = [node for node in list(model.graph) if node.op_type == "Gemm" and _rewrite(model.graph, node)]
        return len(changed)


def _rewrite(graph: ir.Graph, gemm: ir.Node) -> bool:
    rows, back = produced_by(gemm.inputs[0], "Reshape"), sole_consumer(gemm.outputs[0], "Reshape")
    weight = gemm.inputs[1]
    shape = static_shape(weight) if weight is not None and constant(weight) is not None else None
    if rows is None or back is None or shape is None or not _plain(gemm):
        return False
    x, y = rows.inputs[0], back.outputs[0]
    if x is None or x.shape is None or y.shape is None or rank(x) != 3 or list(y.shape) != [*x.shape[:2], shape[1]]:
        return False
    if x.shape[2] != shape[0]:
        return False
    product = new_node(gemm, "MatMul", [x, weight])
    product.outputs[0].shape, product.outputs[0].type = y.shape, y.type
    nodes = [product]
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    if bias is not None:
        nodes.append(new_node(gemm, "Add", [product.outputs[0], bias]))
    graph.insert_before(gemm, nodes)
    take_over(y, nodes[-1].outputs[0])
    graph.remove([back, gemm], safe=True)
    return True


def _plain(gemm: ir.Node) -> bool:
    """Return whether `gemm` is x · W + b, with a bias for each column."""
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    if bias is not None and rank(bias) != 1:
        return False
    turned = attribute(gemm, "transA", 0) or attribute(gemm, "transB", 0)
    return not turned and attribute(gemm, "alpha", 1.0) == 1.0 and attribute(gemm, "beta", 1.0) == 1.0
