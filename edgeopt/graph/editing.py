"""Edits of an onnx_ir graph: new nodes and constants, fresh names, one value in the place of another.

    scale = add_initializer(graph, "x_scale", np.float32(0.1))       called x_scale, or x_scale_1 where that is taken
    node = new_node(like, "Mul", [x, scale], name="Mul:x")           metadata of `like`, one output of its type; in no graph yet
    insert_before(graph, like, node, "x_scaled")                     with a fresh name for its output; returns the output
    graph.insert_after(like, node)                                   (`insert_before`, `append`, `remove` are onnx_ir's own)
    read_instead(like, x, node.outputs[0])                           one reader reads something else
    take_over(old, new)                                              all of them do, and the outputs of the model

Names: users call their tensors as they like, so a name that we make is always asked for with `fresh_name`. A value that is
given none is named by onnx_ir when its node enters the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from edgeopt.errors import InternalError

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the modules a node comes from; `edgeopt.export.naming` turns it into the node's name."""
_NAMES = "edgeopt.names"


def copied(model: ir.Model) -> ir.Model:
    """Return a copy of the model to edit; the weights are shared, and nodes must be in order (`sort_nodes`)."""
    copy = model.clone()
    forget_names(copy.graph)
    return copy


def fresh_name(graph: ir.Graph, base: str) -> str:
    """Return `base`, or `base` and a number, so that no value of the graph or of its subgraphs has that name.

    The names of a graph are collected once and kept with it; `forget_names` where someone else has added to them since.
    """
    taken = graph.meta.get(_NAMES)
    if taken is None:
        taken = {value.name for inner in (graph, *graph.subgraphs()) for value in _values(inner)}
        graph.meta[_NAMES] = taken
    name, number = base, 1
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    return name


def forget_names(graph: ir.Graph) -> None:
    """Let `fresh_name` collect the names of the graph again."""
    graph.meta.pop(_NAMES, None)


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]


def add_initializer(graph: ir.Graph, base: str, content: NDArray[Any] | ir.TensorProtocol) -> ir.Value:
    """Register `content` as an initializer with a fresh name made of `base`."""
    name = fresh_name(graph, base)
    tensor = ir.tensor(content, name=name) if isinstance(content, np.ndarray | np.generic) else content
    tensor.name = name
    value = ir.Value(name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def replace_constant(value: ir.Value, values: NDArray[Any]) -> None:
    """Give an initializer other values of the same type."""
    if value.const_value is None:
        raise InternalError(f"{value.name} is not a constant")
    dtype = value.const_value.dtype.numpy()
    value.const_value = ir.tensor(np.asarray(values, dtype=dtype, order="C"), name=value.name)
    value.shape = ir.Shape(value.const_value.shape.numpy())


def new_node(like: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Node:
    """Return a node with one output that comes from the same module as the node `like`; it is in no graph yet."""
    node = ir.node(op_type, inputs, attributes, metadata_props=dict(like.metadata_props))
    node.outputs[0].type = like.outputs[0].type
    return node


def insert_before(graph: ir.Graph, before: ir.Node, node: ir.Node, name: str, shape: ir.Shape | None = None) -> ir.Value:
    """Insert `node`, call its only output `name` or fresher and the node after it; return the output."""
    value: ir.Value = node.outputs[0]
    value.name = fresh_name(graph, name)
    value.shape = shape
    node.name = f"{node.op_type}:{value.name}"
    graph.insert_before(before, node)
    return value


def read_instead(node: ir.Node, old: ir.Value, new: ir.Value | None) -> None:
    """Make `node` read `new` wherever it read `old`."""
    for index, value in enumerate(node.inputs):
        if value is old:
            node.replace_input_with(index, new)


def take_over(old: ir.Value, new: ir.Value) -> None:
    """Put `new` in the place of `old` wherever it is used, as an output of the model, too; it gets its name, type and shape."""
    new.type, new.shape = old.type, old.shape
    producer = old.producer()
    graph = old.graph if producer is None else producer.graph
    before = f"{old.name}_before"
    new.name, old.name = old.name, before if graph is None else fresh_name(graph, before)
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def import_contrib_operators(model: ir.Model) -> None:
    """Declare that the model has contrib operators of onnxruntime (domain com.microsoft), unless it does so already."""
    model.opset_imports.setdefault("com.microsoft", 1)


def opset_of(model: ir.Model) -> int:
    """Return the version of the model's default operator set."""
    return max(model.opset_imports.get("", 1), model.opset_imports.get("ai.onnx", 1))


def sort_nodes(model: ir.Model) -> None:
    """Put the nodes into topological order, which ONNX asks for and not every exporter keeps.

    Raises:
        InternalError: the graph has a cycle.
    """
    try:
        common.TopologicalSortPass()(model)
    except ValueError as error:
        raise InternalError(f"the graph has a cycle: {error}") from error


def remove_unused(model: ir.Model) -> None:
    """Remove the nodes and constants whose results nothing reads."""
    common.RemoveUnusedNodesPass()(model)
