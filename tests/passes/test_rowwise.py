"""Which operators treat rows alike: checked by running each on rows in another order."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.matching import constant
from edgeopt.passes.rowwise import ELEMENTWISE, LAST_AXIS, UNARY, is_row_wise

X = np.abs(np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)) + np.float32(0.1)
ORDER = [3, 1, 4, 0, 2]


def graph(call: str, results: str = "float[2,5,n] y") -> onnx.ModelProto:
    header = '<ir_version: 10, opset_import: ["" : 24, "my" : 1]>'
    text = f"{header} g (float[2,5,4] x) => ({results}) <float[4] w = {{1, 2, 3, 4}}> {{ {call} }}"
    return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))


def alike(node: ir.Node) -> bool:
    return is_row_wise(node, lambda value: value is not None and constant(value) is None, axes=3)


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})


CALLS = {op: f"y = {op}(x)" for op in UNARY} | {op: f"y = {op}(x, w)" for op in ELEMENTWISE}
CALLS |= {
    "Cast": "y = Cast<to = 1>(x)",
    "LayerNormalization": "y = LayerNormalization<axis = AXIS>(x, w)",
    "RMSNormalization": "y = RMSNormalization<axis = AXIS>(x, w)",
    "Softmax": "y = Softmax<axis = AXIS>(x)",
    "Split": "y, z = Split<axis = AXIS, num_outputs = 2>(x)",
}


@pytest.mark.parametrize("op", sorted(CALLS))
@pytest.mark.parametrize("axis", [-1, 2])
def test_every_listed_operator_treats_rows_alike(op, axis):
    results = "float[2,5,n] y, float[2,5,n] z" if op == "Split" else "float[2,5,n] y"
    model = graph(CALLS[op].replace("AXIS", str(axis)), results)
    assert alike(ir.from_proto(model).graph[0])
    for whole, turned in zip(run(model, X), run(model, X[:, ORDER]), strict=True):
        np.testing.assert_allclose(turned, whole[:, ORDER], rtol=1e-6)


@pytest.mark.parametrize("call", [CALLS[op].replace("AXIS", "1") for op in sorted(LAST_AXIS - {"LayerNormalization"})])
def test_along_another_axis_they_do_not(call):
    assert not alike(ir.from_proto(graph(call, "float[2,n,m] y")).graph[0])


def test_a_split_without_an_axis_is_along_the_first():
    assert not alike(ir.from_proto(graph("y, z = Split<num_outputs = 2>(x)", "float[1,5,4] y")).graph[0])


@pytest.mark.parametrize("call", ["y = CumSum(x, w)", "y = Transpose(x)", "y = ReduceMean(x)", "y = my.Gelu(x)"])
def test_others_do_not(call):
    assert not alike(ir.from_proto(graph(call)).graph[0])
