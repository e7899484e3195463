"""Who makes and who reads each tensor of a graph, and what its constants hold."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
_BYTES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)


class GraphIndex:
    """A snapshot of a graph's edges; edit the graph and it is out of date."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.producer = {name: node for node in graph.node for name in node.output if name}
        self.inputs = {value.name for value in graph.input}
        self.outputs = {value.name for value in graph.output}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self.captured: set[str] = set()
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                if name:
                    self.consumers[name].append(node)
            self.captured.update(captured(node))
        self._types = {value.name: value.type.tensor_type.elem_type for value in _values(graph)}

    def is_float(self, name: str) -> bool:
        """Tell whether the tensor is known to be floating point."""
        tensor = self.initializers.get(name)
        return (tensor.data_type if tensor is not None else self._types.get(name)) in FLOATS

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the value of an initializer, or None if `name` is none."""
        tensor = self.initializers.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def rank(self, name: str) -> int | None:
        """Return the number of axes of a tensor, if it is known."""
        if name in self.initializers:
            return len(self.initializers[name].dims)
        for value in _values(self.graph):
            if value.name == name and value.type.tensor_type.HasField("shape"):
                return len(value.type.tensor_type.shape.dim)
        return None

    def sole_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the only reader of a tensor that nothing else (no output, no subgraph) looks at."""
        readers = self.consumers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs and name not in self.captured else None

    def feeds_only(self, name: str, node: onnx.NodeProto) -> bool:
        """Tell whether nothing but `node` looks at the tensor."""
        reader = self.sole_consumer(name)
        return reader is not None and reader.name == node.name

    def bytes_behind(self, name: str) -> onnx.NodeProto | None:
        """Return the DequantizeLinear that makes the tensor of 8-bit integers; None if none does, or of wider ones."""
        maker = self.producer.get(name)
        if maker is None or maker.op_type != "DequantizeLinear" or len(maker.input) < 3:
            return None
        zero = self.initializers.get(maker.input[2])
        return maker if zero is not None and zero.data_type in _BYTES else None

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """Return the node's floating-point inputs that are not constant."""
        return [name for name in node.input if name and name not in self.initializers and self.is_float(name)]


def _values(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.value_info, *graph.input, *graph.output]


def captured(node: onnx.NodeProto) -> set[str]:
    """Return the names that the node's subgraphs read, be they their own or from outside."""
    names: set[str] = set()
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names.update(inner.input)
                names |= captured(inner)
            names.update(value.name for value in graph.output)
    return names


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute."""
    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def replace_constant(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> None:
    """Give the initializer `name` other values of the same type."""
    for tensor in graph.initializer:
        if tensor.name == name:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
            return
    raise KeyError(name)


def is_depthwise(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Tell whether a convolution has constant weights and a filter of its own for each channel."""
    weight = index.initializers.get(node.input[1])
    return weight is not None and weight.dims[1] == 1 and attribute(node, "group", 1) == weight.dims[0] > 1


def is_pointwise(node: onnx.NodeProto, weight: onnx.TensorProto | None) -> bool:
    """Tell whether a convolution of pictures has constant weights of 1 × 1, all channels together, and visits every pixel."""
    if weight is None or list(weight.dims[2:]) != [1, 1] or attribute(node, "group", 1) != 1:
        return False
    return not any(attribute(node, "pads", ())) and set(attribute(node, "strides", (1, 1))) == {1}


def rename_input(node: onnx.NodeProto, old: str, new: str) -> None:
    """Make `node` read `new` wherever it read `old`."""
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new


def used_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all tensors that a node, a subgraph or an output of the graph reads."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        used |= captured(node)
    return used


def remove_unread_nodes(graph: onnx.GraphProto) -> None:
    """Remove the nodes nobody reads, and then those that only they read."""
    while True:
        used = used_names(graph)
        kept = [node for node in graph.node if used.intersection(node.output)]
        if len(kept) == len(graph.node):
            return
        del graph.node[:]
        graph.node.extend(kept)


def remove_unused_constants(graph: onnx.GraphProto) -> None:
    """Drop the initializers nothing reads.

    One by one: protobuf keeps what was deleted until the whole model goes, so taking all out and putting some back in would
    hold the weights twice.
    """
    used = used_names(graph)
    for place in reversed([place for place, tensor in enumerate(graph.initializer) if tensor.name not in used]):
        del graph.initializer[place]
