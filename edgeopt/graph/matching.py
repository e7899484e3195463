"""What passes and planners ask of an onnx_ir graph: producers, consumers, constants, types and shapes.

onnx_ir keeps the edges itself, so nothing is indexed and nothing is out of date after an edit. The questions, on a value `v`
and a node `n` of an `ir.Model` (read one with `edgeopt.graph.files.load`):

    v.producer()                the node that produces v, None for an input or a constant of the graph
    v.consumers(), v.uses()     the nodes that read v; (node, position) of each reading. Nodes of subgraphs are among them
    v.is_graph_output()         whether v is an output; sole_consumer(v) asks all three at once
    n.inputs, n.outputs         values; an input that is left out is None
    produced_by(v, "Reshape")   the producer if it is that standard operator
    constant(v), array(v)       the tensor of an initializer, and its values as numpy sees them (no copy)
    is_float(v), rank(v)        by the types and shapes in the model; both may be unknown
    activations(n)              the floating-point inputs of n that are not constant
    attribute(n, "axis", 0)     the value of an attribute, or what it is when it is left out
    by_name(graph)["scores"]    a value by its name; plans and reports name tensors and nodes, graphs hold the objects
    name_of(v), names_of(vs)    and back

To edit a graph, see `edgeopt.graph.editing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

FLOATS = frozenset((ir.DataType.FLOAT, ir.DataType.FLOAT16))
EIGHT_BITS = frozenset((ir.DataType.UINT8, ir.DataType.INT8))


def name_of(item: ir.Value | ir.Node | None) -> str:
    """Return the name of a value or a node, "" where there is none."""
    return "" if item is None else item.name or ""


def names_of(values: Iterable[ir.Value | None]) -> list[str]:
    """Return the names of the values that are there."""
    return [value.name for value in values if value is not None and value.name]


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor of an initializer, None for anything that is computed or given."""
    if value is None or not value.is_initializer() or value.is_graph_input():
        return None
    return value.const_value


def array(value: ir.Value | None) -> NDArray[Any] | None:
    """Return the values of an initializer, None for anything that is computed or given; they must not be changed."""
    tensor = constant(value)
    return None if tensor is None else tensor.numpy()


def weight_tensor(value: ir.Value) -> ir.TensorProtocol:
    """Return the tensor of a weight or bias that was matched as a constant.

    Raises:
        ValueError: it is none.
    """
    tensor = constant(value)
    if tensor is None:
        raise ValueError(f"{value.name} is not a constant")
    return tensor


def integers(value: ir.Value | None) -> list[int] | None:
    """Return the elements of a small constant of integers, None for anything else."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.size > 64 or tensor.dtype not in {ir.DataType.INT64, ir.DataType.INT32}:
        return None
    return [int(item) for item in tensor.numpy().ravel()]


def is_float(value: ir.Value | None) -> bool:
    """Return whether the value is known to be floating point (float32 or float16)."""
    if value is None:
        return False
    tensor = constant(value)
    return (tensor.dtype if tensor is not None else value.dtype) in FLOATS


def rank(value: ir.Value | None) -> int | None:
    """Return how many axes `value` has, None if that is unknown."""
    return None if value is None or value.shape is None else len(value.shape)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the shape of `value` if every axis has a known size."""
    if value is None or value.shape is None or any(not isinstance(size, int) for size in value.shape):
        return None
    return tuple(int(size) for size in value.shape if isinstance(size, int))


def known_axes(value: ir.Value | None) -> tuple[int | str, ...] | None:
    """Return the axes of `value`, each a size or a name, None if one of them has neither."""
    if value is None or value.shape is None:
        return None
    axes = [size if isinstance(size, int) else size.value for size in value.shape]
    found = tuple(size for size in axes if size is not None)
    return found if len(found) == len(axes) else None


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Return the value of an attribute of `node`."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def is_standard(node: ir.Node, *op_types: str) -> bool:
    """Return whether `node` is one of these operators of ONNX's own domain."""
    return not node.domain and node.op_type in op_types


def produced_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the producer of `value` if it is a standard `op_type`."""
    node = value.producer() if value is not None else None
    return node if node is not None and is_standard(node, op_type) else None


def sole_consumer(value: ir.Value, op_type: str = "") -> ir.Node | None:
    """Return the only node that reads `value`, in one place, if it is an `op_type` (any, if left out) of the same graph.

    Where `value` is an output of the graph, or a subgraph reads it, there is none.
    """
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    node: ir.Node = uses[0].node
    producer = value.producer()
    if producer is not None and node.graph is not producer.graph:
        return None
    return node if not op_type or is_standard(node, op_type) else None


def own_consumers(value: ir.Value, graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes of `graph` itself that read `value`, each once, in the order in which they came to."""
    return [node for node in dict.fromkeys(value.consumers()) if node.graph is graph]


def is_captured(value: ir.Value, graph: ir.Graph) -> bool:
    """Return whether a subgraph of `graph` reads the value."""
    return any(node.graph is not graph for node in value.consumers())


def activations(node: ir.Node) -> list[ir.Value]:
    """Return the floating-point inputs of `node` that are not constant."""
    return [value for value in node.inputs if value is not None and constant(value) is None and is_float(value)]


def named_nodes(graph: ir.Graph) -> dict[str, ir.Node]:
    """Return the nodes of `graph` by their names."""
    return {node.name: node for node in graph if node.name}


def by_name(graph: ir.Graph) -> dict[str, ir.Value]:
    """Return the inputs, initializers and node outputs of `graph` by their names, subgraphs left out."""
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    return {value.name: value for value in values if value.name}


def dequantized_bytes(value: ir.Value | None) -> ir.Node | None:
    """Return the DequantizeLinear that produces `value` from 8-bit integers; None if none does, or from wider ones."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear" or len(node.inputs) < 3:
        return None
    zero = constant(node.inputs[2])
    return node if zero is not None and zero.dtype in EIGHT_BITS else None


def is_depthwise(node: ir.Node) -> bool:
    """Return whether a convolution has constant weights and a filter of its own for each channel."""
    tensor = constant(node.inputs[1])
    shape = tensor.shape.numpy() if tensor is not None else (0, 0)
    return shape[1] == 1 and attribute(node, "group", 1) == shape[0] > 1


def is_pointwise(node: ir.Node) -> bool:
    """Return whether a convolution of images has constant weights of 1 × 1, all channels together, and visits every pixel."""
    return pointwise_shape(node, array(node.inputs[1]))


def pointwise_shape(node: ir.Node, weight: NDArray[Any] | None) -> bool:
    """Return the same as `is_pointwise` for a convolution with this weight, wherever it is stored."""
    if weight is None or weight.shape[2:] != (1, 1) or attribute(node, "group", 1) != 1:
        return False
    return not any(attribute(node, "pads", ())) and set(attribute(node, "strides", (1, 1))) == {1}


def int64(*sizes: int) -> NDArray[np.int64]:
    """Return `sizes` as the array that ONNX wants for shapes."""
    return np.array(sizes, dtype=np.int64)
