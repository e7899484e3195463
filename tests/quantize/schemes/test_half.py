"""float16: what does not fit stays in float32 and is named; inputs and outputs as asked; subgraphs see what they saw."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.schemes.converted import Request
from edgeopt.quantize.schemes.half import convert

LARGE = """
<ir_version: 10, opset_import: ["" : 21]>
large (float[n, 8] x) => (float[n, 8] y, float[n, 8] z) {
    m = MatMul (x, w)
    e = Exp (m)
    r = Reciprocal (e)
    big = Mul (r, c)
    y = Add (m, r)
    z = Tanh (big)
}
"""
BRANCH = """
<ir_version: 10, opset_import: ["" : 21]>
branch (float[n, 8] x, bool flag) => (float[n, 8] y) {
    m = MatMul (x, w)
    y = If (flag) <
        then_branch = yes () => (float[n, 8] a) { a = Relu (m) },
        else_branch = no () => (float[n, 8] b) { b = Neg (m) }
    >
}
"""


def model_of(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return model


@pytest.fixture
def large() -> onnx.ModelProto:
    return model_of(LARGE, w=np.eye(8) * 1.5, c=np.array([1e5]))


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return [{"x": generator.uniform(-9, 9, (4, 8)).astype(np.float32)} for _ in range(3)]


def test_what_exceeds_float16_is_named_and_stays_in_float32(large, rows, saved, tmp_path, vnni):
    path, output = saved(large), tmp_path / "half.onnx"
    result = quantize(path, rows, target=vnni, output=output, config=QuantizeConfig(scheme="float16"))
    onnx.checker.check_model(output, full_check=True)
    kinds = {decision.what for decision in result.facts.decisions}
    assert {"precision", "float32", "overflow"} <= kinds
    named = " ".join(decision.reason for decision in result.facts.decisions)
    assert "c (100000)" in named
    assert "'e' reaches" in named
    before, after = (ort.InferenceSession(item, providers=["CPUExecutionProvider"]) for item in (path, output))
    for expected, got in zip(before.run(None, rows[0]), after.run(None, rows[0]), strict=True):
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got, expected, rtol=5e-3, atol=5e-3 * np.abs(expected).max())


def test_callers_can_pass_float16(large, rows, saved, tmp_path, vnni):
    config = QuantizeConfig.read({"scheme": "float16", "half": {"keep_io": False}}, where="test")
    result = quantize(saved(large), rows, target=vnni, output=tmp_path / "half.onnx", config=config)
    onnx.checker.check_model(result.path, full_check=True)
    session = ort.InferenceSession(result.path, providers=["CPUExecutionProvider"])
    assert [item.type for item in (*session.get_inputs(), *session.get_outputs())] == [
        "tensor(float16)",
        "tensor(float)",
        "tensor(float16)",
    ]
    assert result.facts.layers[0].sqnr_db > 50


def test_blocked_and_excluded_nodes_stay(large, rows, vnni):
    for number, node in enumerate(large.graph.node):
        node.name = f"n{number}"
    config = QuantizeConfig.read({"scheme": "float16", "half": {"block_ops": ["Add"]}}, where="test")
    converted = convert(
        Request(prepare(ir.from_proto(large), "large", rewrite=False), rows, config, {"n0": Why(Cause.EXCLUDED)})
    )
    reasons = {node.name: node.reason for node in converted.nodes}
    assert reasons["n0"] == "excluded"
    assert reasons["n4"] == "Add is in half.block_ops"


def test_branches_read_what_they_read_before(saved, tmp_path, vnni):
    model = model_of(BRANCH, w=np.eye(8) * 0.5)
    batch = {"x": np.linspace(-2, 2, 16, dtype=np.float32).reshape(2, 8), "flag": np.array(False)}
    path = saved(model)
    result = quantize(path, [batch], target=vnni, output=tmp_path / "half.onnx", config=QuantizeConfig(scheme="float16"))
    onnx.checker.check_model(result.path, full_check=True)
    assert any("subgraph" in decision.reason for decision in result.facts.decisions)
    got = ort.InferenceSession(result.path, providers=["CPUExecutionProvider"]).run(None, batch)[0]
    np.testing.assert_allclose(got, -batch["x"] / 2, atol=1e-3)


def test_what_subgraphs_and_callers_both_read_stays_float32(saved, tmp_path, vnni):
    model = model_of(BRANCH.replace("=> (float[n, 8] y)", "=> (float[n, 8] y, float[n, 8] m)", 1), w=np.eye(8) * 0.5)
    batch = {"x": np.linspace(-2, 2, 16, dtype=np.float32).reshape(2, 8), "flag": np.array(True)}
    config = QuantizeConfig.read({"scheme": "float16", "half": {"keep_io": False}}, where="test")
    result = quantize(saved(model), [batch], target=vnni, output=tmp_path / "half.onnx", config=config)
    onnx.checker.check_model(result.path, full_check=True)
    assert all(layer.sqnr_db > 50 for layer in result.facts.layers)


def test_a_model_that_does_not_shrink_is_said(saved, tmp_path, vnni):
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (float[n] y) { y = Tanh (x) }')
    batch = {"x": np.ones(3, dtype=np.float32)}
    result = quantize(saved(model), [batch], target=vnni, output=tmp_path / "out.onnx", config=QuantizeConfig(scheme="float16"))
    assert any("not smaller" in warning for warning in result.facts.warnings)
