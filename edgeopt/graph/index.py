"""Producers, consumers and constants of a protobuf graph, by name: for the float16 scheme, which edits protobuf still.

Everything else asks onnx_ir (`edgeopt.graph.matching`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


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


def used_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all tensors that a node, a subgraph or an output of the graph reads."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        used |= captured(node)
    return used


def remove_unused_constants(graph: onnx.GraphProto) -> None:
    """Drop the initializers nothing reads.

    One by one: protobuf keeps what was deleted until the whole model goes, so taking all out and putting some back in would
    hold the weights twice.
    """
    used = used_names(graph)
    for place in reversed([place for place, tensor in enumerate(graph.initializer) if tensor.name not in used]):
        del graph.initializer[place]


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of the whole model, weights too: to change, or to let go of what was removed from `model`.

    (protobuf keeps what is removed from a message until the whole message goes.)
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the model's default operator set."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1)
