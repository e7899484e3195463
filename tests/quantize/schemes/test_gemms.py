"""Gemm as MatMul and Add computes the same, under the same names."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir, serialized
from edgeopt.quantize.schemes.gemms import split_gemms


def made(attributes: str = "", bias: str = ", b"):
    head = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 4] x) => (float[n, 4] y)'
    model = onnx.parser.parse_model(f"{head} {{ [layer] y = Gemm {attributes} (x, w{bias}) }}")
    generator = np.random.default_rng(0)
    for name, shape in (("w", (4, 4)), ("b", (4,))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name))
    return as_ir(model)


def run(model):
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    return ort.InferenceSession(serialized(model), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("attributes", ["", "<transB = 1>"])
@pytest.mark.parametrize(("bias", "nodes"), [(", b", ["MatMul", "Add"]), ("", ["MatMul"])])
def test_the_function_and_the_names_stay(attributes, bias, nodes):
    model = made(attributes, bias)
    before = run(model)
    assert split_gemms(model, ()) == 1
    assert [node.op_type for node in model.graph] == nodes and model.graph[0].name == "layer"
    assert model.graph.outputs[0].name == "y"
    np.testing.assert_allclose(run(model), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attributes", ["<alpha = 2.0>", "<beta = 0.5>", "<transA = 1>"])
def test_scaled_and_transposed_ones_stay(attributes):
    assert split_gemms(made(attributes), ()) == 0


def test_excluded_and_small_ones_stay():
    assert split_gemms(made(), {"layer"}) == 0
    assert split_gemms(made(), (), smallest=17) == 0
    assert split_gemms(made(), (), smallest=16) == 1
