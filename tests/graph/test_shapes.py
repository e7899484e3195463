"""Inferred types and shapes of inner tensors."""

import onnx
import onnx_ir as ir

from edgeopt.graph.files import as_ir
from edgeopt.graph.matching import by_name
from edgeopt.graph.shapes import infer_types


def typed(body: str) -> dict[str, ir.Value]:
    model = as_ir(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g (float[n, 4] x) => (y) {{ {body} }}'))
    infer_types(model)
    return by_name(model.graph)


def test_inner_tensors_get_type_and_shape():
    values = typed("a = Transpose (x) b = Shape (a) y = Relu (a)")
    assert (values["a"].dtype, list(map(str, values["a"].shape))) == (ir.DataType.FLOAT, ["4", "n"])
    assert (values["b"].dtype, list(values["b"].shape)) == (ir.DataType.INT64, [2])


def test_the_outputs_of_the_graph_stay_as_they_are():
    assert typed("y = Relu (x)")["y"].type is None


def test_a_graph_that_cannot_be_inferred_is_left_alone(monkeypatch):
    def fail(*_, **__):
        raise onnx.shape_inference.InferenceError("contradiction")

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", fail)
    assert typed("a = Transpose (x) y = Relu (a)")["a"].type is None
