"""Gemm as MatMul and Add, for schemes whose kernels have no form with a bias.

Before: x → Gemm (w, b) → y        After: x → MatMul (w, transposed if need be) → Add (b) → y
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, forget_names, fresh_name, new_node, remove_unused
from edgeopt.graph.matching import array, attribute, is_standard, name_of


def split_gemms(model: ir.Model, excluded: Container[str], *, smallest: int = 0) -> int:
    """Split the plain Gemms with constant matrices of `smallest` elements or more, in place; return how many.

    The MatMul takes the Gemm's name.
    """
    graph = model.graph
    forget_names(graph)
    turned: dict[ir.Value, ir.Value] = {}
    count = 0
    for node in list(graph):
        value = node.inputs[1] if is_standard(node, "Gemm") and name_of(node) not in excluded else None
        weight = array(value)
        if value is None or weight is None or weight.size < smallest or not _plain(node):
            continue
        count += 1
        if attribute(node, "transB", 0):
            if value not in turned:
                turned[value] = add_initializer(graph, f"{value.name}_transposed", np.ascontiguousarray(weight.T))
            value = turned[value]
        _split(graph, node, value)
    if count:
        remove_unused(model)
    return count


def _split(graph: ir.Graph, node: ir.Node, weight: ir.Value) -> None:
    """Make a Gemm a MatMul by `weight`, and an Add of the bias if it has one; the result keeps its name."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    result = node.outputs[0]
    node.op_type = "MatMul"
    node.attributes.clear()
    node.resize_inputs(2)
    node.replace_input_with(1, weight)
    if bias is None:
        return
    add = new_node(node, "Add", [None, bias])
    total = add.outputs[0]
    total.type, total.shape = result.type, result.shape
    result.replace_all_uses_with(total, replace_graph_outputs=True)
    add.replace_input_with(0, result)
    name, result.name = result.name, fresh_name(graph, f"{result.name}_product")
    total.name, add.name = name, f"{node.name}_bias"
    graph.insert_after(node, add)


def _plain(node: ir.Node) -> bool:
    """Return whether a Gemm is just a product and a sum."""
    return attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
