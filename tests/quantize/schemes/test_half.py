"""float16: what does not fit stays in float32 and is named; inputs and outputs as asked; subgraphs see what they saw."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.schemes.half import convert
from edgeopt.quantize.schemes.scheme import Request

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


def converted(saved, tmp_path, vnni, text, samples, *, keep_io=True, **constants):
    """Convert the graph of `text` to float16; return its plan by the node's first output, and the outputs of both files."""
    model = model_of(f'<ir_version: 10, opset_import: ["" : 21]>\n{text}', **constants)
    for node in model.graph.node:
        node.name = node.output[0]
    config = QuantizeConfig.read({"scheme": "float16", "half": {"keep_io": keep_io}}, where="test")
    path = saved(model)
    result = quantize(path, samples, target=vnni, output=tmp_path / "half.onnx", config=config)
    plan = {node.name: node for node in load_plan(result.plan_path).nodes}
    before, after = (ort.InferenceSession(item, providers=["CPUExecutionProvider"]) for item in (path, result.path))
    types = {item.name: np.float16 if item.type == "tensor(float16)" else np.float32 for item in after.get_inputs()}
    expected = [before.run(None, dict(batch)) for batch in samples]
    got = [after.run(None, {name: values.astype(types[name]) for name, values in batch.items()}) for batch in samples]
    return plan, np.asarray(expected), np.asarray(got)


ZERO = [{"x": np.array([[0, 1, -1, 3]], np.float32)}]
ONES = [{"x": np.array([[0.5, 1, 2, 3]], np.float32)}]
SMALL_NUMBERS = {
    "before a logarithm": ("a = Relu(x)  b = Add(a, c)  y = Log(b)", ZERO, 1e-10, {"b", "y"}),
    "before a division": ("a = Relu(x)  b = Add(a, c)  y = Div(a, b)", ZERO, 1e-9, {"b", "y"}),
    "as a bound": ("a = Abs(x)  b = Max(a, c)  y = Reciprocal(b)", ONES, 1e-12, {"b", "y"}),
    "in a norm": ("a = Mul(x, x)  b = Add(a, c)  r = Sqrt(b)  y = Div(x, r)", ONES, 1e-12, {"b", "r", "y"}),
    "as an exponent below one": ("a = Relu(x)  b = Add(a, c)  y = Pow(b, e)", ZERO, 1e-9, {"b", "y"}),
}


@pytest.mark.parametrize("name", SMALL_NUMBERS)
def test_small_constants_keep_what_reads_them_in_float32(saved, tmp_path, vnni, name):
    body, samples, constant, kept = SMALL_NUMBERS[name]
    text = f"g (float[n, 4] x) => (float[n, 4] y) {{ {body} }}"
    constants = {"c": np.array(constant)} | ({"e": np.array(-0.5)} if "Pow" in body else {})
    plan, expected, got = converted(saved, tmp_path, vnni, text, samples, **constants)
    assert {node.name for node in plan.values() if node.precision == "float"} == kept
    assert {plan[node].cause for node in kept} == {Cause.UNDERFLOW}
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_small_activations_are_kept_back_to_where_they_are_larger(saved, tmp_path, vnni):
    text = "g (float[n, 4] x) => (float[n, 4] y) { s = Softmax(x)  t = Mul(s, c)  y = Log(t) }"
    samples = [{"x": np.array([[0, -30, -40, 1]], np.float32)}]
    plan, expected, got = converted(saved, tmp_path, vnni, text, samples, c=np.array(0.5))
    assert {node.name for node in plan.values() if node.precision == "float"} == {"s", "t", "y"}
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_small_weights_and_probabilities_that_nothing_divides_by_are_float16(saved, tmp_path, vnni):
    text = "g (float[n, 4] x) => (float[n, 4] y) { m = MatMul(x, w)  y = Softmax(m) }"
    plan, expected, got = converted(saved, tmp_path, vnni, text, ONES, w=np.eye(4) * 20 + 1e-9)
    assert {node.precision for node in plan.values()} == {"float16"}
    np.testing.assert_allclose(got, expected, atol=2e-3)


@pytest.mark.parametrize(
    "body", ["m = MatMul(x, w)  y = Mul(m, k)", "m = Mul(x, c)  b = Mul(m, k)  y = Tanh(b)", "y = MatMul(x, w)"]
)
def test_a_tensor_of_which_float16_leaves_nothing_stays_float32(saved, tmp_path, vnni, body):
    """Nothing is infinite in float16, but everything is 0."""
    text = f"g (float[n, 4] x) => (float[n, 4] y) {{ {body} }}"
    constants = {"w": np.eye(4) * 1e-9, "k": np.array(1e4), "c": np.array(1e-8)}
    plan, expected, got = converted(saved, tmp_path, vnni, text, ONES, **constants)
    assert plan["y" if body.startswith("y") else "m"].cause == Cause.UNDERFLOW
    np.testing.assert_allclose(got, expected, rtol=2e-3)


@pytest.mark.parametrize("bias", [1e-9, 1e-3])
def test_a_small_bias_does_not_keep_its_layer_in_float32(saved, tmp_path, vnni, bias):
    text = "g (float[n, 4] x) => (float[n, 4] y) { y = Gemm(x, w, b) }"
    plan, expected, got = converted(saved, tmp_path, vnni, text, ONES, w=np.eye(4), b=np.full(4, bias))
    assert plan["y"].precision == "float16"
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_an_input_of_small_numbers_stays_float32_where_it_is_divided_by(saved, tmp_path, vnni):
    text = "g (float[n, 4] x) => (float[n, 4] y) { y = Reciprocal(x) }"
    samples = [{"x": np.array([[1e-3, 1e-7, 1, 2]], np.float32)}]
    plan, expected, got = converted(saved, tmp_path, vnni, text, samples, keep_io=False)
    assert plan["y"].precision == "float"
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_what_only_running_the_result_shows_is_kept_too(saved, tmp_path, vnni):
    """Rounded to float16 the two numbers are equal, and the logarithm of their difference is not finite."""
    text = "g (float[n, 4] x) => (float[n, 4] y) { a = Mul(x, c)  b = Sub(a, x)  y = Log(b) }"
    samples = [{"x": np.array([[1, 2, 4, 8]], np.float32)}]
    plan, expected, got = converted(saved, tmp_path, vnni, text, samples, c=np.array(1.0001))
    assert np.isfinite(got).all()
    assert plan["y"].cause == plan["b"].cause == Cause.UNDERFLOW
    np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_the_shapes_of_inner_tensors_are_kept_with_their_new_types(saved, tmp_path, vnni):
    text = "g (float[n, 4] x) => (float[n, 4] y) { m = MatMul(x, w)  e = Exp(m)  y = Tanh(e) }"
    converted(saved, tmp_path, vnni, text, [{"x": np.full((1, 4), 9, np.float32)}], w=np.eye(4) * 1.4)
    known = {value.name: value.type.tensor_type for value in onnx.load(tmp_path / "half.onnx").graph.value_info}
    assert known["m_float16"].elem_type == onnx.TensorProto.FLOAT16 and known["e"].elem_type == onnx.TensorProto.FLOAT
    assert all(kind.shape.dim[1].dim_value == 4 for kind in known.values())
