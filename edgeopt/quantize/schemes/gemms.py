"""Gemm as MatMul and Add, for schemes whose kernels have no form with a bias.

Before: x → Gemm (w, b) → y        After: x → MatMul (w, transposed if need be) → Add (b) → y
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants


def split_gemms(graph: onnx.GraphProto, excluded: Container[str], *, smallest: int = 0) -> int:
    """Split the plain Gemms with constant matrices of so many elements or more, in place; return how many.

    The MatMul takes the Gemm's name.
    """
    index = GraphIndex(graph)
    nodes: list[onnx.NodeProto] = []
    count = 0
    for node in graph.node:
        weight = index.constant(node.input[1]) if node.op_type == "Gemm" and node.name not in excluded else None
        if weight is None or weight.size < smallest or not _plain(node):
            nodes.append(node)
            continue
        count += 1
        name = node.input[1]
        if attribute(node, "transB", 0):
            name = f"{name}_transposed"
            if all(tensor.name != name for tensor in graph.initializer):
                graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight.T), name))
        biased = len(node.input) > 2 and bool(node.input[2])
        product = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", [node.input[0], name], [product], node.name))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{node.name}_bias"))
    del graph.node[:]
    graph.node.extend(nodes)
    remove_unused_constants(graph)
    return count


def _plain(node: onnx.NodeProto) -> bool:
    """Tell whether a Gemm is just a product and a sum."""
    return attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0 and not attribute(node, "transA", 0)
