"""1 × 1 convolutions that give floats, as matrix products: onnxruntime has an integer convolution only for rounded outputs.

Before: q [n, c, h, w] → DequantizeLinear → Conv (W [m, c, 1, 1], b) → y [n, m, h, w]
After:  q → Transpose [n, h, w, c] → MatMulIntegerToFloat (Wᵀ [c, m], b) → Transpose → y [n, m, h, w]

The operator is onnxruntime's own: of MatMul between DequantizeLinear nodes it makes the same one, but leaves the bias to an Add
of its own (4 % of MobileNetV2's time). Its integer convolutions keep channels last as well, so of the Transposes around a chain
of such layers only those at its ends are left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, is_pointwise, remove_unread_nodes, remove_unused_constants
from edgeopt.graph.order import sort_nodes
from edgeopt.quantize.apply.bias import dequantized

_LAST = (0, 2, 3, 1)
_FIRST = (0, 3, 1, 2)


def multiply_pointwise(model: onnx.ModelProto) -> int:
    """Rewrite every 1 × 1 convolution of 8-bit pictures whose output is read as floats; return how many."""
    graph = model.graph
    index = GraphIndex(graph)
    products = {node.name: _product(node, index) for node in graph.node if _gives_floats(node, index)}
    if not products:
        return 0
    nodes = [made for node in graph.node for made in products.get(node.name, [node])]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx_file.import_own_operators(model)
    remove_unread_nodes(graph)
    remove_unused_constants(graph)
    sort_nodes(graph)
    return len(products)


def _gives_floats(node: onnx.NodeProto, index: GraphIndex) -> bool:
    if node.op_type != "Conv" or index.bytes_behind(node.input[0]) is None:  # no kernel multiplies 16-bit integers
        return False
    of_weight = index.bytes_behind(node.input[1])
    if of_weight is None or not is_pointwise(node, index.initializers.get(of_weight.input[0])):
        return False
    readers = index.consumers[node.output[0]]
    return any(reader.op_type != "QuantizeLinear" for reader in readers) and node.output[0] not in index.outputs


def _product(node: onnx.NodeProto, index: GraphIndex) -> list[onnx.NodeProto]:
    """Return what stands for the convolution; constants it needs are added to the graph."""
    name, graph = node.name, index.graph
    of_input, of_weight = (index.producer[read] for read in node.input[:2])
    weight = numpy_helper.to_array(index.initializers[of_weight.input[0]])
    matrix = _constant(graph, f"{name}_matrix", np.ascontiguousarray(weight[:, :, 0, 0].T))
    integers, product = f"{name}_channels_last", f"{name}_product"
    factors = [integers, matrix, of_input.input[1], of_weight.input[1], of_input.input[2], of_weight.input[2]]
    bias = _bias(node, index)
    if bias is not None:
        factors.append(_constant(graph, f"{name}_bias", bias))
    return [
        helper.make_node("Transpose", [of_input.input[0]], [integers], integers, perm=_LAST),
        helper.make_node("MatMulIntegerToFloat", factors, [product], name, domain="com.microsoft"),
        helper.make_node("Transpose", [product], [node.output[0]], f"{name}_channels_first", perm=_FIRST),
    ]


def _bias(node: onnx.NodeProto, index: GraphIndex) -> NDArray[Any] | None:
    """Return the convolution's bias as floats, whether it is stored so or on an int32 grid."""
    if len(node.input) < 3 or not node.input[2]:
        return None
    maker = index.producer.get(node.input[2])
    return index.constant(node.input[2]) if maker is None else dequantized(maker, index).astype(np.float32)


def _constant(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> str:
    graph.initializer.append(numpy_helper.from_array(values, name))
    return name
