"""Which nodes may compute in float16, by what their operators' schemas allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

import onnx_ir as ir
from onnx import defs

from edgeopt.graph.matching import by_name
from edgeopt.quantize.plan.cause import Cause, Why

_FLOAT16 = "tensor(float16)"
_CHOOSES_ITS_TYPE = {"Cast"}
_SUBGRAPHS = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}


def float_values(model: ir.Model) -> frozenset[ir.Value]:
    """Return the float32 values of the main graph, as far as their types are known."""
    values = by_name(model.graph).values()
    return frozenset(item for item in values if isinstance(item.type, ir.TensorType) and item.dtype == ir.DataType.FLOAT)


def has_subgraphs(node: ir.Node) -> bool:
    """Return whether the node has a body or branches."""
    return any(item.type in _SUBGRAPHS for item in node.attributes.values())


def refusal(node: ir.Node, floats: Set[ir.Value], opset: int) -> Why | None:
    """Return why `node` cannot compute in float16; None if it can. Only for nodes with a value among `floats`."""
    if has_subgraphs(node):
        return Why(Cause.SUBGRAPH)
    if node.domain not in {"", "ai.onnx"}:
        return Why(Cause.NOT_STANDARD, f"{node.domain}:{node.op_type}")
    try:
        schema = defs.get_schema(node.op_type, opset)
    except defs.SchemaError:
        return Why(Cause.NO_SCHEMA)
    allowed = {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}
    read, produced = list(_formal(node.inputs, schema.inputs)), list(_formal(node.outputs, schema.outputs))
    inputs = [kind for value, kind in read if value in floats]
    outputs = [kind for value, kind in produced if value in floats]
    if any(_FLOAT16 not in allowed.get(kind, set()) for kind in (*inputs, *outputs)):
        return Why(Cause.TYPE_REFUSED, f"{node.op_type} is not defined for float16")
    if any(_holds_tensors(allowed.get(kind, {kind})) for _, kind in (*read, *produced)):
        return Why(Cause.SEQUENCE)
    if node.op_type not in _CHOOSES_ITS_TYPE and any(kind not in inputs for kind in outputs):
        return Why(Cause.MAKES_FLOATS, node.op_type)
    return None


def _holds_tensors(types: Set[str]) -> bool:
    """Return whether a parameter is a sequence, an optional or a map of tensors, and never a tensor."""
    return all(kind.startswith(("seq(", "optional(", "map(")) for kind in types)


def _formal(
    values: Iterable[ir.Value | None], parameters: Sequence[defs.OpSchema.FormalParameter]
) -> Iterator[tuple[ir.Value, str]]:
    """Yield each value with the type parameter of its formal parameter; the last one may repeat."""
    for position, value in enumerate(values):
        if value is not None and value.name and parameters:
            yield value, parameters[min(position, len(parameters) - 1)].type_str
