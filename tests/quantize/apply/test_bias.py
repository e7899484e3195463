"""Bias correction: the mean error of rounded weights is subtracted, compared with a plain computation."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir, serialized
from edgeopt.graph.matching import array
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.apply.bias import correct_biases, dequantized, rounded_layers
from edgeopt.targets.target import load_target

GEMM = "[n] y = Gemm <transB = 1> (x, {w}, b)"
CONV = "[n] y = Conv <kernel_shape = [1, 1], group = 2> (x, {w}, b)"


def pair(node: str, shape: tuple[int, ...], axes: str) -> tuple[ir.Model, ir.Model]:
    """Return a model and the same with its weight on a coarse grid behind a DequantizeLinear."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal(shape).astype(np.float32)
    scale = np.full(shape[0], 0.3, np.float32)
    integers = np.rint(weight / 0.3).astype(np.int8)
    constants = {"w": weight, "b": np.zeros(shape[0], np.float32), "i": integers, "s": scale, "z": np.zeros(shape[0], np.int8)}
    models = []
    for body in (node.format(w="w"), "[d] d = DequantizeLinear <axis = 0> (i, s, z) " + node.format(w="d")):
        model = onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["" : 21]> g (float[{axes}] x) => (float[{axes}] y) {{ {body} }}'
        )
        for name, values in constants.items():
            if name in body:
                model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        models.append(as_ir(model))
    return models[0], models[1]


def mean_output(model: ir.Model, x: np.ndarray) -> np.ndarray:
    values = ort.InferenceSession(serialized(model), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    return values.mean(axis=(0, *range(2, values.ndim)))


@pytest.mark.parametrize(("node", "shape", "axes", "given"), [
    (GEMM, (4, 6), "n, k", (512, 6)),
    (CONV, (4, 3, 1, 1), "n, c, h, w", (16, 6, 5, 5)),
])  # fmt: skip
def test_the_mean_output_is_that_of_the_exact_weights(node, shape, axes, given):
    model, quantized = pair(node, shape, axes)
    x = np.random.default_rng(1).uniform(1, 3, given).astype(np.float32)
    mean = x.mean(axis=(0, *range(2, x.ndim)))
    wanted = mean_output(model, x)
    assert np.abs(mean_output(quantized, x) - wanted).max() > 0.05
    assert correct_biases(model, quantized, {"x": mean}) == 1
    np.testing.assert_allclose(mean_output(quantized, x), wanted, atol=1e-4)


def test_a_layer_whose_input_was_not_looked_at_keeps_its_bias():
    model, quantized = pair(GEMM, (4, 6), "n, k")
    assert correct_biases(model, quantized, {}) == 0


def test_rounded_layers_are_paired_by_name():
    model, quantized = pair(GEMM, (4, 6), "n, k")
    [layer] = rounded_layers(model, quantized)
    assert layer.node is model.graph[0] and layer.there.op_type == "Gemm"
    np.testing.assert_allclose(layer.weight, array(model.graph[0].inputs[1]))
    assert np.abs(layer.rounded - layer.weight).max() <= 0.15 + 1e-6
    np.testing.assert_array_equal(layer.rounded, dequantized(layer.dequantize))


@pytest.mark.parametrize("target", ["arm64", "tensorrt"])
def test_the_factor_of_a_bias_stays(saved, tmp_path, target):
    generator = np.random.default_rng(2)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 6] x) => (float[n, 4] y) { y = Gemm <beta = 0.25> (x, w, b) }'
    )
    for name, values in {"w": generator.standard_normal((6, 4)), "b": np.full(4, 40.0)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    batches = [{"x": generator.uniform(1, 3, (16, 6)).astype(np.float32)} for _ in range(4)]
    config = QuantizeConfig(smooth=False, collapse_db=None, float_layers="none")
    result = quantize(saved(model), batches, target=load_target(target), output=tmp_path / "q.onnx", config=config)
    assert result.facts.tensors
    assert result.facts.outputs_db > 35
