"""Products by constant matrices with activations rounded at run time: the graph as text, and what onnxruntime makes of it."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.schemes.integer_products import quantize_products

TWO = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 6] x) => (float[n, 4] y, float[n, 4] z) {
    [first] y = MatMul (x, a)
    [second] m = MatMul (x, b)
    z = Add (m, bias)
}
"""
GOLDEN = [
    "x_quantized, x_scale, x_zero_point = DynamicQuantizeLinear (x)",
    "first_quant = MatMulInteger (x_quantized, a_quantized, x_zero_point, a_zero_point)",
    "first_cast = Cast (first_quant)",
    "first_scales = Mul (x_scale, a_scale)",
    "y = Mul (first_cast, first_scales)",
    "second_quant = MatMulInteger (x_quantized, b_quantized, x_zero_point, b_zero_point)",
    "second_cast = Cast (second_quant)",
    "second_scales = Mul (x_scale, b_scale)",
    "m = Mul (second_cast, second_scales)",
    "z = Add (m, bias)",
]


@pytest.fixture
def two() -> onnx.ModelProto:
    model = onnx.parser.parse_model(TWO)
    generator = np.random.default_rng(0)
    for name, shape in {"a": (6, 4), "b": (6, 4), "bias": (4,)}.items():
        values = generator.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def lines(model: ir.Model) -> list[str]:
    return [
        f"{', '.join(str(v.name) for v in node.outputs)} = {node.op_type} ({', '.join(str(v.name) for v in node.inputs if v)})"
        for node in model.graph
    ]


def test_an_activation_is_rounded_once_for_all_its_products(two):
    model = as_ir(two)
    quantize_products(model, {"first", "second"})
    assert lines(model) == GOLDEN
    assert {"a", "b"}.isdisjoint(model.graph.initializers)
    scales = model.graph.initializers["a_scale"].const_value.numpy()
    matrix = onnx.numpy_helper.to_array(two.graph.initializer[0])
    np.testing.assert_allclose(scales, np.abs(matrix).max(axis=0) / 127, rtol=1e-6)
    integers = model.graph.initializers["a_quantized"].const_value.numpy()
    np.testing.assert_array_equal(integers, np.round(matrix / scales).astype(np.int8))


def test_tensors_of_the_model_keep_their_names(two):
    two.graph.node[1].output[0] = two.graph.node[2].input[0] = "x_scale"
    model = as_ir(two)
    quantize_products(model, {"first", "second"})
    assert "x_scale_1 = " not in "".join(lines(model)[1:]) and lines(model)[0].startswith("x_quantized, x_scale_1, ")
    onnx.checker.check_model(ir.to_proto(model))


def test_onnxruntime_fuses_it_and_the_results_are_near(two, saved, tmp_path, vnni):
    batches = [{"x": np.random.default_rng(seed).standard_normal((3, 6)).astype(np.float32)} for seed in range(4)]
    config = QuantizeConfig(scheme="dynamic")
    result = quantize(saved(two), batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(result.path, options, providers=["CPUExecutionProvider"])
    ran = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "MatMulIntegerToFloat" in ran and not {"MatMul", "MatMulInteger", "Cast", "Mul"} & ran
    assert result.facts.coverage.int8_macs_share == 1.0
    assert result.facts.outputs_db is not None and result.facts.outputs_db > 35


def test_products_of_doubles_stay_as_they_are(saved, tmp_path, vnni):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (double[n, 4] x) => (double[n, 4] y) { [one] y = MatMul (x, w) }'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(4), "w"))
    config = QuantizeConfig(scheme="dynamic")
    batches = [{"x": np.ones((2, 4))}]
    result = quantize(saved(model), batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert [node.op_type for node in onnx.load(result.path).graph.node] == ["MatMul"]
