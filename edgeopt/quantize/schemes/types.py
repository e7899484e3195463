"""Which nodes may compute in a 16-bit float, by what their operators' schemas allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx
from onnx import TensorProto, defs

from edgeopt.graph.index import opset_of
from edgeopt.quantize.plan.cause import Cause, Why

_NAMES: dict[int, str] = {TensorProto.FLOAT16: "tensor(float16)", TensorProto.BFLOAT16: "tensor(bfloat16)"}
_CHOOSES_ITS_TYPE = {"Cast"}


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Return the float32 tensors of the main graph, as far as inference knows them."""
    graph = model.graph
    found = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            found.add(value.name)
    return found


def refusal(node: onnx.NodeProto, floats: set[str], model: onnx.ModelProto, dtype: int) -> Why | None:
    """Return why `node` cannot compute in the 16-bit type `dtype`; None if it can. Only for nodes that touch `floats`."""
    if any(item.g.node or item.graphs for item in node.attribute):
        return Why(Cause.SUBGRAPH)
    if node.domain not in {"", "ai.onnx"}:
        return Why(Cause.NOT_STANDARD, f"{node.domain}:{node.op_type}")
    try:
        schema = defs.get_schema(node.op_type, opset_of(model))
    except defs.SchemaError:
        return Why(Cause.NO_SCHEMA)
    allowed = {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}
    inputs = [(name, kind) for name, kind in _formal(node.input, schema.inputs) if name in floats]
    outputs = [(name, kind) for name, kind in _formal(node.output, schema.outputs) if name in floats]
    fixed = [kind for _, kind in (*inputs, *outputs) if _NAMES[dtype] not in allowed.get(kind, set())]
    if fixed:
        return Why(Cause.TYPE_REFUSED, f"{node.op_type} is not defined for {_NAMES[dtype][7:-1]}")
    parts = (*_formal(node.input, schema.inputs), *_formal(node.output, schema.outputs))
    if any(_holds_tensors(allowed.get(kind, {kind})) for _, kind in parts):
        return Why(Cause.SEQUENCE)
    given = {kind for _, kind in inputs}
    if node.op_type not in _CHOOSES_ITS_TYPE and any(kind not in given for _, kind in outputs):
        return Why(Cause.MAKES_FLOATS, node.op_type)
    return None


def _holds_tensors(types: set[str]) -> bool:
    """Tell whether a parameter is a sequence, an optional or a map of tensors, and never a tensor."""
    return all(kind.startswith(("seq(", "optional(", "map(")) for kind in types)


def _formal(names: Iterable[str], parameters: Sequence[defs.OpSchema.FormalParameter]) -> Iterator[tuple[str, str]]:
    """Yield each name with the type parameter of its formal parameter; the last one may repeat."""
    for position, name in enumerate(names):
        if name and parameters:
            yield name, parameters[min(position, len(parameters) - 1)].type_str
