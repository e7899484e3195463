"""Linear layers as passes see them: a MatMul with a constant matrix, and the Add of its bias."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgeopt.graph.matching import constant, rank, sole_consumer, static_shape


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
    follower = sole_consumer(output, "Add")
    if follower is not None:
        bias = follower.inputs[1 if follower.inputs[0] is output else 0]
        if bias is not None and constant(bias) is not None and static_shape(bias) == (static_shape(weight) or ())[1:]:
            return Linear(x, weight, bias, follower.outputs[0], (node, follower))
    return Linear(x, weight, None, output, (node,))


def products_behind(value: ir.Value, *, steps: int) -> set[ir.Node]:
    """Return the multiplications within `steps` nodes behind `value`."""
    users = set(value.consumers())
    found = {user for user in users if user.op_type == "Mul"}
    if steps > 1:
        for user in users:
            for output in user.outputs:
                found |= products_behind(output, steps=steps - 1)
    return found
