"""Casts between float16 and float32: one per tensor and direction, names as they were."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir, serialized
from edgeopt.quantize.schemes.float16_casts import with_casts

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) {
    [a] a = Add (x, c)
    [b] b = Relu (a)
    [y] y = Mul (a, b)
    [z] z = Exp (b)
}
"""


@pytest.fixture
def model() -> ir.Model:
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(NET))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full((1, 4), 0.5, np.float32), "c"))
    return as_ir(proto)


def casts(model: ir.Model) -> list[tuple[str, str]]:
    return [(node.inputs[0].name, node.outputs[0].name) for node in model.graph if node.op_type == "Cast"]


def outputs(model: ir.Model, dtype: type) -> list[np.ndarray]:
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    x = np.linspace(-1, 1, 8).reshape(2, 4).astype(dtype)
    return ort.InferenceSession(serialized(model), providers=["CPUExecutionProvider"]).run(None, {"x": x})


@pytest.mark.parametrize("half", [set(), {"a"}, {"b"}, {"a", "b"}, {"y"}, {"a", "b", "y", "z"}])
@pytest.mark.parametrize("kept", [{"x", "y", "z"}, set(), {"z"}])
def test_whichever_nodes_are_half_the_function_stays(model, half, kept):
    made = with_casts(model, half, kept=kept)
    assert [value.name for value in (*made.graph.inputs, *made.graph.outputs)] == ["x", "y", "z"]
    expected = outputs(model, np.float32)
    got = outputs(made, np.float32 if "x" in kept else np.float16)
    for name, before, after in zip("yz", expected, got, strict=True):
        assert after.dtype == (np.float32 if name in kept else np.float16)
        np.testing.assert_allclose(after, before, rtol=5e-3, atol=1e-3)
    assert {node.name for node in model.graph} <= {node.name for node in made.graph}


def test_a_tensor_that_several_nodes_read_is_cast_once(model):
    made = with_casts(model, {"y", "z"}, kept={"x", "y", "z"})
    assert sorted(casts(made)) == [("a", "a_float16"), ("b", "b_float16"), ("y_float16", "y"), ("z_float16", "z")]


def test_constants_are_stored_again_and_nothing_else_stays(model):
    made = with_casts(model, {"a"}, kept={"x", "y", "z"})
    assert list(made.graph.initializers) == ["c_float16"]
    assert made.graph.initializers["c_float16"].const_value.dtype == ir.DataType.FLOAT16
