"""Dynamic int8: which products go on integers, and why the others do not."""

import numpy as np
import onnx
import pytest

from edgeopt.quantize import QuantizeConfig, draft, quantize
from edgeopt.quantize.plan.cause import Cause

NODES = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 6] x, float[6, 6] given) => (float[n, 4] y) {
    plain = MatMul (x, w66)
    turned = Gemm <transB = 1> (plain, w46, b4)
    scaled = Gemm <alpha = 0.5> (turned, w46)
    both = MatMul (scaled, given)
    stack = MatMul (both, w166)
    kept = MatMul (stack, w66)
    flat = Reshape (kept, rows)
    y = MatMul (flat, w64)
}
"""
WEIGHTS = {"w66": (6, 6), "w46": (4, 6), "b4": (4,), "w166": (1, 6, 6), "w64": (6, 4)}


@pytest.fixture
def path(saved):
    generator, model = np.random.default_rng(0), onnx.parser.parse_model(NODES)
    for name, shape in WEIGHTS.items():
        values = generator.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 6]), "rows"))
    for node in model.graph.node:
        node.name = node.output[0]
    return saved(model)


@pytest.fixture
def rows():
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((3, 6)).astype(np.float32), "given": np.eye(6, dtype=np.float32)} for _ in range(2)]


def test_each_product_has_its_cause(path, rows, vnni):
    plan = draft(path, rows, target=vnni, config=QuantizeConfig(scheme="dynamic", exclude=["kept"]))
    assert {node.name: (node.precision, node.cause) for node in plan.nodes} == {
        "plain": ("int8", Cause.AT_RUN_TIME),
        "turned": ("int8", Cause.AT_RUN_TIME),
        "scaled": ("float", Cause.SCALED_GEMM),
        "both": ("float", Cause.TWO_ACTIVATIONS),
        "stack": ("float", Cause.NO_MATRIX),
        "kept": ("float", Cause.EXCLUDED),
        "y": ("int8", Cause.AT_RUN_TIME),
    }


def test_only_those_are_written_as_integers(path, rows, tmp_path, vnni):
    config = QuantizeConfig(scheme="dynamic", exclude=["kept"])
    result = quantize(path, rows, target=vnni, output=tmp_path / "made.onnx", config=config)
    kinds = [node.op_type for node in onnx.load(result.path).graph.node]
    assert kinds.count("MatMulInteger") == 3
    assert kinds.count("MatMul") == 3 and kinds.count("Gemm") == 1


def test_a_model_without_products_is_written_as_it_was_and_said(saved, tmp_path, vnni):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> t (float[n, 3] x) => (float[n, 3] y) { y = Relu (x) }'
    )
    batches = [{"x": np.ones((1, 3), np.float32)}]
    config = QuantizeConfig(scheme="dynamic")
    result = quantize(saved(model), batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert [node.op_type for node in onnx.load(result.path).graph.node] == ["Relu"]
    assert any("no matrix product by a constant" in warning for warning in result.facts.warnings)


def test_a_gemm_is_quantized_dynamically_too(conv_model, images, saved, tmp_path, vnni):
    config = QuantizeConfig(scheme="dynamic")
    result = quantize(saved(conv_model), images, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert "MatMulInteger" in [node.op_type for node in onnx.load(result.path).graph.node]
    assert result.facts.layers[0].sqnr_db > 30
