"""Where Q/DQ pairs stand, by the rules of targets."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.placement import Placer, place
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme, TensorPlan
from edgeopt.quantize.plan.shared_ranges import unite_ranges
from edgeopt.targets.target import load_target, target_names

RESIDUAL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
    r = Relu (a)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, w2, b1)
    s = Add (c, r)
    t = Relu (s)
    y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (t, w2, b1)
}
"""

ATTENTION = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 6, 8] x, bool[1, 1, 6] mask) => (float[1, 6, 8] y) {
    h = LayerNormalization <axis = -1> (x, scale, bias)
    q = MatMul (h, wq)
    k = MatMul (h, wk)
    kt = Transpose <perm = [0, 2, 1]> (k)
    scores = MatMul (q, kt)
    bottom = Constant <value = float {-3.4e38}> ()
    zero = Constant <value = float {0.0}> ()
    deep = Where (mask, zero, bottom)
    masked = Add (scores, deep)
    p = Softmax <axis = -1> (masked)
    v = MatMul (p, h)
    g1 = Gelu (v)
    o = MatMul (g1, wo)
    y = Add (o, x)
}
"""


def filled(text, **shapes):
    model = onnx.parser.parse_model(text)
    generator = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = (generator.standard_normal(shape) / np.sqrt(max(np.prod(shape[1:]), 1))).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


@pytest.fixture
def residual(saved):
    return saved(filled(RESIDUAL, w1=(4, 4, 3, 3), w2=(4, 4, 3, 3), b1=(4,)))


@pytest.fixture
def attention(saved):
    return saved(filled(ATTENTION, wq=(8, 8), wk=(8, 8), wo=(8, 8), scale=(8,), bias=(8,)))


@pytest.fixture
def tokens():
    generator = np.random.default_rng(3)
    mask = np.ones((1, 1, 6), dtype=bool)
    mask[0, 0, 4:] = False
    return [{"x": generator.standard_normal((1, 6, 8), dtype=np.float32), "mask": mask} for _ in range(4)]


def images():
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((2, 4, 8, 8), dtype=np.float32)} for _ in range(3)]


def pairs(path):
    """Return the tensors that are rounded: what each QuantizeLinear reads."""
    return {node.input[0] for node in onnx.load(path).graph.node if node.op_type == "QuantizeLinear"}


def test_inputs_are_rounded_before_what_multiplies_and_on_the_residual_branch_only(residual, tmp_path):
    result = quantize(residual, images(), target=load_target("tensorrt"), output=tmp_path / "q.onnx")
    assert pairs(result.path) == {"x", "r", "t"}
    graph = onnx.load(result.path).graph
    add = next(node for node in graph.node if node.op_type == "Add")
    makers = {name: node for node in graph.node for name in node.output}
    assert [makers[name].op_type for name in add.input] == ["Conv", "DequantizeLinear"]
    zeros = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if "zero_point" in tensor.name]
    assert {(str(zero.dtype), int(np.abs(zero).max())) for zero in zeros} == {("int8", 0)}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {constants[node.input[2]] for node in convs} == {onnx.TensorProto.FLOAT}, "biases stay floating"


def test_an_npu_gets_every_tensor_rounded(attention, tokens, tmp_path):
    target = load_target("qnn-htp-emulated")
    result = quantize(attention, tokens, target=target, output=tmp_path / "q.onnx", config=QuantizeConfig(wide_db=None))
    graph = onnx.load(result.path).graph
    dequantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            floats = [name for name in node.input if name != "mask"]
            assert set(floats) <= dequantized, f"{node.op_type} reads {floats}"
    assert not result.facts.coverage.islands
    assert "QNNExecutionProvider is not in this onnxruntime" in result.facts.coverage.seen_in
    bounds = next(decision for decision in result.facts.decisions if decision.what == "bounded masks")
    assert bounds.choice == "1 nodes"


def test_wide_activations_reach_the_wanted_noise(attention, tokens, tmp_path):
    target = load_target("qnn-htp-emulated")
    noise = {}
    for wide_db in (None, 50.0):
        config = QuantizeConfig(wide_db=wide_db, correct_bias=False)
        result = quantize(attention, tokens, target=target, output=tmp_path / "q.onnx", config=config)
        ort.InferenceSession(result.path, providers=["CPUExecutionProvider"])
        noise[wide_db] = next(layer.sqnr_db for layer in result.facts.layers if layer.op == "output")
        types = {tensor.data_type for tensor in onnx.load(result.path).graph.initializer if "zero_point" in tensor.name}
        assert (onnx.TensorProto.UINT16 in types) == (wide_db is not None)
    assert noise[50.0] > noise[None] + 3


@pytest.mark.parametrize(("ops", "channels"), [(["Conv"], False), (["Conv", "Gemm", "MatMul"], True)])
def test_per_channel_scales_only_where_the_target_takes_them(attention, tokens, tmp_path, ops, channels):
    target = load_target("qnn-htp-emulated")
    rules = target.quantization.rules.model_copy(update={"per_channel_ops": ops})
    target = target.model_copy(update={"quantization": target.quantization.model_copy(update={"rules": rules})})
    config = QuantizeConfig(wide_db=None)
    result = quantize(attention, tokens, target=target, output=tmp_path / "q.onnx", config=config)
    scales = [tensor for tensor in onnx.load(result.path).graph.initializer if tensor.name.endswith("_scale")]
    assert scales
    assert any(np.prod(tensor.dims) > 1 for tensor in scales) == channels


def test_ranges_are_united_along_chains():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] a, float[2] b, float[2] c) => (float[6] z) '
        "{ y = Concat <axis = 0> (a, b) z = Concat <axis = 0> (y, c) }"
    )
    model = onnx.shape_inference.infer_shapes(model)
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    scheme = Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True)
    nodes = tuple(NodePlan(f"n{number}", "Concat", "int8", "int8", Cause.TAKEN) for number in range(2))
    spans = {"a": (-1.0, 0.0), "b": (0.0, 2.0), "c": (-3.0, 1.0), "y": (-1.0, 2.0), "z": (-3.0, 2.0)}
    plan = Plan("t", scheme, nodes, tuple(TensorPlan(name, "uint8", *span, "min-max") for name, span in spans.items()), ())
    united = unite_ranges(as_ir(model), plan, {"Concat"})
    assert {(tensor.low, tensor.high) for tensor in united.tensors} == {(-3.0, 2.0)}
    apart = unite_ranges(as_ir(model), replace(plan, nodes=plan.nodes[:1]), {"Concat"})
    assert next((tensor.low, tensor.high) for tensor in apart.tensors if tensor.name == "c") == (-3.0, 1.0)
    assert next((tensor.low, tensor.high) for tensor in apart.tensors if tensor.name == "a") == (-1.0, 2.0)


@pytest.mark.parametrize("name", target_names())
def test_every_target_makes_a_model_that_is_valid_and_close(name, residual, tmp_path):
    result = quantize(residual, images(), target=load_target(name), output=tmp_path / "q.onnx")
    onnx.checker.check_model(str(result.path), full_check=True)
    batch = images()[0]
    exact, got = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, batch)[0] for path in (residual, result.path)
    )
    assert np.square(exact - got).sum() < 0.01 * np.square(exact).sum()


MODERN = """
<ir_version: 11, opset_import: ["" : 23]>
g (float[1, 4, 8] x, int64[1, 4] ids) => (float[1, 4, 8] y) {
    h = RMSNormalization <axis = -1> (x, scale)
    q = MatMul (h, wq)
    k = MatMul (h, wk)
    v = MatMul (h, wv)
    r = RotaryEmbedding <num_heads = 2> (q, cosine, sine, ids)
    a = Attention <q_num_heads = 2, kv_num_heads = 2> (r, k, v)
    o = MatMul (a, wo)
    n = LayerNormalization <axis = -1> (o, scale)
    f = Gelu (n)
    y = MatMul (f, wq)
}
"""


@pytest.mark.parametrize("name", ["x86-vnni", "qnn-htp-emulated", "tensorrt"])
def test_operators_of_opset_23_are_kept_and_the_model_stays_valid(name, saved, tmp_path):
    path = saved(filled(MODERN, scale=(8,), wq=(8, 8), wk=(8, 8), wv=(8, 8), wo=(8, 8), cosine=(4, 2), sine=(4, 2)))
    generator = np.random.default_rng(5)
    batch = {"x": generator.standard_normal((1, 4, 8), dtype=np.float32), "ids": np.arange(4)[None]}
    result = quantize(path, [batch], target=load_target(name), output=tmp_path / "q.onnx")
    onnx.checker.check_model(str(result.path), full_check=True)
    kept = {node.op_type for node in onnx.load(result.path).graph.node}
    assert {"RMSNormalization", "RotaryEmbedding", "Attention"} <= kept
    exact, got = (
        ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, batch)[0] for file in (path, result.path)
    )
    assert np.square(exact - got).sum() < 0.05 * np.square(exact).sum()


@pytest.mark.parametrize("target", ["x86-vnni", "tensorrt", "qnn-htp-emulated"])
def test_what_is_on_integers_is_the_same_said_sooner(target):
    rules = load_target(target).quantization.rules
    for text, shapes in (
        (RESIDUAL, {"w1": (4, 4, 3, 3), "w2": (4, 4, 3, 3), "b1": (4,)}),
        (ATTENTION, {"wq": (8, 8), "wk": (8, 8)}),
    ):
        model = as_ir(filled(text, **shapes))
        for node in model.graph:
            node.name = node.outputs[0].name
        placer = Placer(model, rules)
        for floating in ((), ("a",), ("c", "s"), ("q",)):
            exceptions = dict.fromkeys(floating, Why(Cause.EXCLUDED))
            plan = placer.place(exceptions)
            assert plan == place(model, exceptions, rules)
            expected = {node.name: node.output != "float" for node in plan if node.precision != "float"}
            assert placer.on_integers(exceptions) == expected
