"""What the passes ask of a graph: constants, static sizes, linear layers; and how they add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeopt.data.batches import Array

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the modules a node comes from; `naming` turns it into the node's name."""


@dataclass(frozen=True)
class Linear:
    """``MatMul(x, weight) + bias`` with constant weight [in, out] and bias [out]; the rest of the graph uses `output`."""

    x: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    output: ir.Value
    nodes: tuple[ir.Node, ...]


def match_linear(node: ir.Node) -> Linear | None:
    """Return the linear layer that starts with the MatMul `node`, with its bias if only an Add of one follows."""
    if node.op_type != "MatMul" or node.domain:
        return None
    x, weight = node.inputs
    output = node.outputs[0]
    if x is None or weight is None or constant(weight) is None or rank(weight) != 2 or output.is_graph_output():
        return None
    follower = sole_user(output, "Add")
    if follower is not None:
        bias = follower.inputs[1 if follower.inputs[0] is output else 0]
        if bias is not None and constant(bias) is not None and static_shape(bias) == (static_shape(weight) or ())[1:]:
            return Linear(x, weight, bias, follower.outputs[0], (node, follower))
    return Linear(x, weight, None, output, (node,))


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor of an initializer, None for anything that is computed or given."""
    if value is None or not value.is_initializer() or value.is_graph_input():
        return None
    return value.const_value


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


def rank(value: ir.Value) -> int | None:
    """Return how many axes `value` has, None if that is unknown."""
    return None if value.shape is None else len(value.shape)


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Return the shape of `value` if every axis has a known size."""
    if value.shape is None or any(not isinstance(size, int) for size in value.shape):
        return None
    return tuple(int(size) for size in value.shape if isinstance(size, int))


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Return the value of an attribute of `node`."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def maker(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that makes `value` if it is a standard `op_type`."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type and not node.domain else None


def sole_user(value: ir.Value, op_type: str) -> ir.Node | None:
    """Return the only node that uses `value` if it is an `op_type` and `value` is no graph output."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return None
    user: ir.Node = uses[0].node
    return user if user.op_type == op_type else None


def products_behind(value: ir.Value, *, steps: int) -> set[ir.Node]:
    """Return the multiplications within `steps` nodes behind `value`."""
    users = set(value.consumers())
    found = {user for user in users if user.op_type == "Mul"}
    if steps > 1:
        for user in users:
            for output in user.outputs:
                found |= products_behind(output, steps=steps - 1)
    return found


def add_initializer(graph: ir.Graph, base: str, content: Array | ir.LazyTensor) -> ir.Value:
    """Register `content` as an initializer called `base`, or `base` and a number where that is taken."""
    name, number = base, 1
    while name in graph.initializers:
        name, number = f"{base}_{number}", number + 1
    tensor = content if isinstance(content, ir.LazyTensor) else ir.tensor(content, name=name)
    tensor.name = name
    value = ir.Value(name=name, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def new_node(like: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Node:
    """Return a node with one output that comes from the same module as the node `like`; it is in no graph yet."""
    node = ir.node(op_type, inputs, attributes, metadata_props=dict(like.metadata_props))
    node.outputs[0].type = like.outputs[0].type
    return node


def take_over(old: ir.Value, new: ir.Value) -> None:
    """Put `new` in the place of `old` wherever it is used; as an output of the model it keeps the name."""
    new.type, new.shape = old.type, old.shape
    if old.is_graph_output():
        new.name, old.name = old.name, f"{old.name}_before"
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def int64(*sizes: int) -> Array:
    """Return `sizes` as the array that ONNX wants for shapes."""
    return np.array(sizes, dtype=np.int64)
