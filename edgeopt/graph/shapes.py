"""Types and shapes of inner tensors, as far as ONNX's inference finds them."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from edgeopt.graph.files import structure


def infer_types(model: ir.Model) -> None:
    """Give the results of the main graph's nodes the types and shapes that inference finds; what it does not know stays."""
    try:
        inferred = onnx.shape_inference.infer_shapes(structure(model), data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return
    found = {value.name: value.type for value in inferred.graph.value_info}
    for node in model.graph:
        for value in node.outputs:
            proto = found.get(value.name or "")
            if proto is not None and not value.is_graph_output():
                _describe(value, proto)


def _describe(value: ir.Value, proto: onnx.TypeProto) -> None:
    kind, shape = ir.serde.deserialize_type_proto_for_type(proto), ir.serde.deserialize_type_proto_for_shape(proto)
    if kind is not None:
        value.type = kind
    if shape is not None:
        value.shape = shape.copy()  # those that are read are frozen
