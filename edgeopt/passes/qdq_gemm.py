"""Gemm: its integer kernel adds the bias inside its 32-bit sums, which a MatMul followed by an Add cannot.

Before: x [m, k] → MatMul (W [k, n]) → Add (bias [n]) → y        After: x → Gemm (W, bias) → y
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants


def gemms_from_matmuls(model: onnx.ModelProto) -> int:
    """Make every MatMul of a matrix by a constant matrix a Gemm, with the bias that is added next; return how many."""
    graph = model.graph
    index = GraphIndex(graph)
    dropped: set[str] = set()
    count = 0
    for node in graph.node:
        weight = index.initializers.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or len(weight.dims) != 2 or index.rank(node.input[0]) != 2 or not index.is_float(node.input[0]):
            continue
        node.op_type = "Gemm"
        count += 1
        add = index.sole_consumer(node.output[0])
        bias = _bias(add, node.output[0], weight.dims[1], index)
        if add is not None and bias:
            node.input.append(bias)
            node.output[0] = add.output[0]
            dropped.add(add.name)
    kept = [node for node in graph.node if node.name not in dropped]
    del graph.node[:]
    graph.node.extend(kept)
    return count


def _bias(add: onnx.NodeProto | None, product: str, width: int, index: GraphIndex) -> str:
    if add is None or add.op_type != "Add":
        return ""
    name = next((name for name in add.input if name != product), "")
    tensor = index.initializers.get(name)
    return name if tensor is not None and list(tensor.dims) == [width] else ""


def flatten_biases(model: onnx.ModelProto) -> None:
    """Give constant Gemm biases of shape [1, n], [1] or [] the shape [n], which onnxruntime's quantizer wants."""
    graph = model.graph
    index = GraphIndex(graph)
    for node in graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3:
            continue
        bias, weight = index.constant(node.input[2]), index.initializers.get(node.input[1])
        if bias is None or weight is None:
            continue
        size = weight.dims[0] if attribute(node, "transB", 0) else weight.dims[1]
        if bias.shape == (size,) or bias.size not in {1, size}:
            continue  # as wanted, or a bias for each row
        name = f"{node.input[2]}_of_{node.name}"
        graph.initializer.append(numpy_helper.from_array(np.broadcast_to(bias.reshape(-1), (size,)).copy(), name))
        node.input[2] = name
    remove_unused_constants(graph)
