"""Smoothing keeps the function, and what others read."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeopt.graph.files import as_ir
from edgeopt.quantize.apply.smooth import smooth

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
net (float[m, 8] x) => (float[m, 4] y, float[m, 8] z) {
    g = Gemm <transB = 1> (x, w, c)
    n = Relu (g)
    y = MatMul (n, v)
    z = Add (n, g)
}"""


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})


def test_smoothing_keeps_the_function_and_other_readers():
    generator = np.random.default_rng(3)
    model = onnx.parser.parse_model(TEXT)
    for name, shape in {"w": (8, 8), "c": (8,), "v": (8, 4)}.items():
        values = generator.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model = onnx.shape_inference.infer_shapes(model)
    after = smooth(as_ir(model), {"n": generator.uniform(0.1, 10, 8), "x": generator.uniform(0.1, 10, 8)})
    x = generator.standard_normal((5, 8)).astype(np.float32)
    for expected, got in zip(run(model, x), run(ir.to_proto(after), x), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert [node.op_type for node in after.graph].count("Mul") == 2
    (n,) = (value for node in after.graph for value in node.outputs if value.name == "n")
    assert {node.op_type for node in n.consumers()} == {"Mul", "Add"}


def test_products_that_do_not_multiply_rows_by_a_matrix_read_what_was_there():
    text = """<ir_version: 10, opset_import: ["" : 21]>
    net (float[8, 8] x) => (float[8, 4] y, float[8] z, float[8, 4] t) {
        n = Relu (x)
        y = MatMul (n, v)
        z = MatMul (n, u)
        t = Gemm <transA = 1> (n, v)
    }"""
    generator = np.random.default_rng(4)
    model = onnx.parser.parse_model(text)
    for name, shape in {"v": (8, 4), "u": (8,)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(generator.random(shape, np.float32), name))
    model = onnx.shape_inference.infer_shapes(model)
    after = ir.to_proto(smooth(as_ir(model), {"n": generator.uniform(0.1, 10, 8)}))
    x = generator.standard_normal((8, 8), np.float32)
    for expected, got in zip(run(model, x), run(after, x), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
