"""Where Q/DQ pairs stand, what their constants hold, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.errors import InternalError
from edgeopt.graph.files import as_ir
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import NodePlan, Plan, Scheme, TensorPlan
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.sqnr import Noise
from edgeopt.targets.target import Target, load_target
from tests.quantize.conftest import conv_net, fill, named

CHAIN = """
<ir_version: 10, opset_import: ["" : 21]>
chain (float[n, 3, 8, 8] x) => (float[n, 4, 8, 8] y) {
    a = Conv <kernel_shape = [1, 1]> (x, w1)
    b = Conv <kernel_shape = [1, 1]> (a, w2)
    y = Conv <kernel_shape = [1, 1]> (b, w3)
}
"""


@pytest.fixture
def chain() -> onnx.ModelProto:
    model = onnx.parser.parse_model(CHAIN)
    generator = np.random.default_rng(3)
    for name, shape in {"w1": (4, 3, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 4, 1, 1)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name))
    for number, node in enumerate(model.graph.node):
        node.name = f"conv{number}"
    return model


def test_a_float_node_between_integer_nodes_really_runs_in_floating_point(chain, saved, tmp_path, vnni):
    batch = {"x": np.random.default_rng(4).standard_normal((2, 3, 8, 8), dtype=np.float32)}
    config = QuantizeConfig(exclude=["conv1"])
    result = quantize(saved(chain), [batch], target=vnni, output=tmp_path / "out.onnx", config=config)
    assert [island.node for island in result.facts.coverage.islands] == ["conv1"]
    assert result.facts.coverage.int8_macs_share == pytest.approx(28 / 44)


def test_a_tensor_without_a_range_is_an_internal_error_that_names_it(chain, vnni):
    batch = {"x": np.random.default_rng(4).standard_normal((2, 3, 8, 8), dtype=np.float32)}
    prepared = prepare(ir.from_proto(chain), "chain")
    plan = draft_plan(prepared, [batch], vnni, QuantizeConfig()).plan
    less = replace(plan, tensors=tuple(tensor for tensor in plan.tensors if tensor.name != "b"))
    with pytest.raises(InternalError, match="the tensor 'b' and has no range"):
        insert_qdq(prepared.model, less)


# names, constants, types


def pairs_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the QuantizeLinear nodes by the tensor they read."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            found.setdefault(node.input[0], []).append(node)
    return found


def constants_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def outputs_of(model: onnx.ModelProto, batch: dict[str, np.ndarray], *, optimize: bool = True) -> np.ndarray:
    options = ort.SessionOptions()
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, batch)[0]


def sqnr(exact: np.ndarray, got: np.ndarray) -> float:
    noise = Noise()
    noise.add(exact, got)
    return noise.db


DEFAULTS = QuantizeConfig()


def quantized(text: str, target: Target, batches, config=DEFAULTS, **shapes) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return a model of ONNX text with random constants, prepared without rewrites, and its quantized form."""
    model = named(fill(onnx.parser.parse_model(text), **shapes))
    prepared = prepare(ir.from_proto(model), "model", rewrite=False)
    drafted = draft_plan(prepared, batches, target, config)
    made = ir.to_proto(insert_qdq(smoothed(prepared.model, drafted.plan), drafted.plan))
    onnx.checker.check_model(made, full_check=True)
    return ir.to_proto(prepared.model), made


def rows(*shape, seed=5) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)
    return [{"x": generator.standard_normal(shape).astype(np.float32)} for _ in range(4)]


SUFFIXES = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 16] x, float[n, 8] a_DequantizeLinear_Output) => (float[n, 4] y, float[n, 4] y_QuantizeLinear_Input) {
    a = Gemm (x, w1, b1)
    m = Mul (a, r_scale)
    m2 = Add (m, a_DequantizeLinear_Output)
    r = Relu (m2)
    x_QuantizeLinear = Relu (r)
    t = Gemm (x_QuantizeLinear, w2, b2)
    y_QuantizeLinear_Input = Softmax (t)
    y = Gemm (t, w3)
}
"""


def test_tensors_and_nodes_called_as_ours_would_be_keep_what_they_hold(vnni):
    shapes = {"w1": (16, 8), "b1": (8,), "w2": (8, 4), "b2": (4,), "w3": (4, 4)}
    shapes |= {"r_scale": (), "w1_quantized": (3,), "x_zero_point": (2,)}
    batches = [{**batch, "a_DequantizeLinear_Output": batch["x"][:, :8]} for batch in rows(6, 16)]
    exact, made = quantized(SUFFIXES, vnni, batches, **shapes)
    names = [name for node in made.graph.node for name in node.output] + [tensor.name for tensor in made.graph.initializer]
    assert len(names) == len(set(names))
    nodes = [node.name for node in made.graph.node]
    assert len(nodes) == len(set(nodes))
    assert constants_of(made.graph)["r_scale"] == constants_of(exact.graph)["r_scale"]
    assert sqnr(outputs_of(exact, batches[0]), outputs_of(made, batches[0])) > 25


SHARED_BIAS = """
<ir_version: 8, opset_import: ["" : 13]>
g (float[n, 3, 8, 8] x) => (float[n, 4, 8, 8] y) {
    y1 = Conv (x, w, b)
    b0 = Conv (y1, w2, b)
    s = Softmax <axis = 1> (b0)
    y = Conv <kernel_shape = [1, 1]> (s, w2, b)
}
"""


def test_layers_that_share_weights_and_a_bias_have_grids_of_their_own(vnni):
    batches = rows(2, 3, 8, 8)
    exact, made = quantized(SHARED_BIAS, vnni, batches, w=(4, 3, 1, 1), w2=(4, 4, 1, 1), b=(4,))
    constants, makers = constants_of(made.graph), {name: node for node in made.graph.node for name in node.output}
    bias = constants_of(exact.graph)["b"]
    scales = set()
    for node in made.graph.node:
        if node.op_type == "Conv":
            numbers, scale = (constants[name] for name in makers[node.input[2]].input[:2])
            np.testing.assert_allclose(numbers * scale, bias, atol=float(scale.max()))
            scales.add(scale.tobytes())
    assert len(scales) == 3
    assert sqnr(outputs_of(exact, batches[0]), outputs_of(made, batches[0])) > 25


MIXED = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 8] x) => (float[n, 8] y, float[n, 8] z) {
    a = MatMul (x, w1)
    c = Add (a, k)
    z = Softmax (a)
    y = MatMul (c, w2)
}
"""


def test_a_floating_node_keeps_the_exact_constant_that_an_integer_node_shares(vnni):
    text = MIXED.replace("y = MatMul (c, w2)", "e = Tanh (c) y = MatMul (e, w1)")
    config = QuantizeConfig(exclude=["y"])
    exact, made = quantized(text, vnni, rows(6, 8), config, w1=(8, 8), k=(8,))
    readers = {node.name: node for node in made.graph.node if node.op_type == "MatMul"}
    assert readers["y"].input[1] == "w1"
    assert readers["a"].input[1] != "w1"
    np.testing.assert_array_equal(constants_of(made.graph)["w1"], constants_of(exact.graph)["w1"])


@pytest.mark.parametrize("opset", [21, 17])
def test_types_are_converted_where_sixteen_bits_meet_eight(opset):
    """a is given by an 8-bit node and read by a 16-bit one, c the other way round; before opset 21 all pairs are contrib."""
    text = MIXED.replace('"" : 21', f'"" : {opset}').replace("ir_version: 10", "ir_version: 8")
    target, batches = load_target("qnn-htp-emulated"), rows(6, 8)
    model = named(fill(onnx.parser.parse_model(text), w1=(8, 8), w2=(8, 8), k=(8,)))
    prepared = prepare(ir.from_proto(model), "model", rewrite=False)
    plan = draft_plan(prepared, batches, target, QuantizeConfig(wide_db=None)).plan
    tensors = tuple(replace(tensor, dtype="uint16") if tensor.name == "c" else tensor for tensor in plan.tensors)
    made = ir.to_proto(insert_qdq(prepared.model, replace(plan, tensors=tensors)))
    onnx.checker.check_model(made, full_check=True)
    assert {node.domain for node in made.graph.node if "Linear" in node.op_type} == {"" if opset == 21 else "com.microsoft"}
    constants, makers = constants_of(made.graph), {name: node for node in made.graph.node for name in node.output}

    def read_as(node: str, place: int) -> tuple[str, ...]:
        """Return the integer types a tensor goes through before a node reads it, the last first."""
        name = next(item for item in made.graph.node if item.name == node).input[place]
        types = []
        while (maker := makers.get(name)) is not None and "Linear" in maker.op_type:
            if maker.op_type == "DequantizeLinear":
                types.append(constants[maker.input[2]].dtype.name)
            name = maker.input[0]
        return tuple(types)

    assert read_as("c", 0) == ("uint16", "uint8")
    assert read_as("z", 0) == ("uint8",)
    assert read_as("y", 0) == ("uint16",)
    assert read_as("c", 1) == ("uint8",), "constants keep the type of activations"
    assert sqnr(outputs_of(ir.to_proto(prepared.model), batches[0]), outputs_of(made, batches[0])) > 25


SHARING = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 3, 8, 8] x) => (float[n, 4, 2, 2] y) {
    a = Conv <kernel_shape = [3, 3]> (x, w1)
    p = MaxPool <kernel_shape = [2, 2]> (a)
    t = Transpose <perm = [0, 1, 3, 2]> (p)
    l = LeakyRelu (t)
    y = Conv <kernel_shape = [4, 4]> (l, w2)
}
"""


def test_nodes_that_only_move_or_choose_values_read_and_give_the_same_grid(vnni):
    _, made = quantized(SHARING, vnni, rows(2, 3, 8, 8), w1=(4, 3, 3, 3), w2=(4, 4, 4, 4))
    quantizers = pairs_of(made.graph)
    assert {tuple(quantizers[name][0].input[1:]) for name in ("a", "p", "t")} == {("a_scale", "a_zero_point")}
    assert quantizers["l"][0].input[1] == "l_scale"


MOVED = {
    "MaxPool": "p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)  y = Sin (p)",
    "MaxPool that says where": "p, k = MaxPool <kernel_shape = [2, 2]> (a)  y = Sin (p)",
    "Reshape": "to = Constant <value_ints = [1, 4, 36]> ()  p = Reshape (a, to)  y = Sin (p)",
    "Transpose": "p = Transpose <perm = [0, 2, 3, 1]> (a)  y = Sin (p)",
    "Slice": "o = Constant <value_ints = [0]> ()  e = Constant <value_ints = [2]> ()  p = Slice (a, o, e, e)  y = Sin (p)",
    "Squeeze": "o = Constant <value_ints = [0]> ()  p = Squeeze (a, o)  y = Sin (p)",
    "Unsqueeze": "o = Constant <value_ints = [0]> ()  p = Unsqueeze (a, o)  y = Sin (p)",
    "one behind the other": "p = MaxPool <kernel_shape = [2, 2]> (a)  t = Transpose (p)  y = Sin (t)",
    "an output": "y = MaxPool <kernel_shape = [2, 2]> (a)",
    "others": """
        f = Flatten (a)  g = Sin (f)  h, i = Split <axis = 1, num_outputs = 2> (a)  j = Concat <axis = 3> (h, i)  k = Cos (j)
        r = Resize <mode = "nearest"> (a, , scales)  l = Pad (r, pads)  m = Exp (l)  n1 = ReduceMax <keepdims = 0> (g)
        n2 = ReduceMax <keepdims = 0> (k)  n3 = ReduceMax <keepdims = 0> (m)  q = Add (n1, n2)  y = Add (q, n3)
    """,
}


@pytest.mark.parametrize("body", MOVED.values(), ids=MOVED)
def test_signed_integers_that_only_move_before_floats_load_and_stay_what_they_are(body):
    """onnxruntime, left to itself, adds a pair behind such nodes whose two types disagree on x86."""
    constants = "float[4] scales = {1.0, 1.0, 2.0, 2.0}, int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}"
    text = f"""
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[1, 3, 8, 8] x) => (float[] y) <{constants}> {{ a = Conv <kernel_shape = [3, 3]> (x, w1)  {body} }}
    """
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model = named(fill(model, w1=(4, 3, 3, 3)))
    batches = rows(1, 3, 8, 8)
    prepared = prepare(ir.from_proto(model), "model", rewrite=False)
    drafted = draft_plan(prepared, batches, load_target("arm64"), DEFAULTS)
    made = ir.to_proto(insert_qdq(prepared.model, drafted.plan))
    assert np.allclose(outputs_of(made, batches[0]), outputs_of(made, batches[0], optimize=False), atol=1e-6)
    assert sqnr(outputs_of(model, batches[0]), outputs_of(made, batches[0])) > 20


def test_a_relu_behind_a_node_that_rounds_goes_if_the_zero_point_is_free(vnni):
    text = SHARING.replace("p = MaxPool", "r = Relu (a) p = MaxPool").replace(
        "MaxPool <kernel_shape = [2, 2]> (a)", "MaxPool <kernel_shape = [2, 2]> (r)"
    )
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 4, 4)}
    exact, made = quantized(text, vnni, rows(2, 3, 8, 8), **shapes)
    assert "Relu" not in {node.op_type for node in made.graph.node}
    assert next(node for node in made.graph.node if node.op_type == "Conv").output[0] == "r"
    assert sqnr(outputs_of(exact, rows(2, 3, 8, 8)[0]), outputs_of(made, rows(2, 3, 8, 8)[0])) > 25
    other = vnni.model_copy(
        update={"quantization": vnni.quantization.model_copy(update={"activation": "int8", "symmetric_activation": True})}
    )
    assert "Relu" in {node.op_type for node in quantized(text, other, rows(2, 3, 8, 8), **shapes)[1].graph.node}


def test_an_output_that_is_rounded_keeps_its_name_and_one_that_is_not_its_digits(vnni):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 3, 6, 6] x) => (float[n, 4, 6, 6] y, float[n, 4, 6, 6] s) {
        y = Conv (x, w1)
        s = Sin (y)
        t = Conv (s, w2)
    }
    """
    batches = rows(2, 3, 6, 6)
    _, made = quantized(text, vnni, batches, w1=(4, 3, 1, 1), w2=(4, 4, 1, 1))
    assert [value.name for value in made.graph.output] == ["y", "s"]
    makers = {name: node for node in made.graph.node for name in node.output}
    assert (makers["y"].op_type, makers["s"].op_type) == ("DequantizeLinear", "Sin")
    assert makers["s"].input[0] == "y", "the consumers of a rounded tensor reads it as all others do"


def test_a_gemm_scales_its_bias_before_it_is_stored(vnni):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 8] x) => (float[n, 4] y) { y = Gemm <beta = 0.5> (x, w, b) }
    """
    batches = rows(6, 8)
    exact, made = quantized(text, vnni, batches, w=(8, 4), b=(4,))
    for optimize in (True, False):
        assert sqnr(outputs_of(exact, batches[0]), outputs_of(made, batches[0], optimize=optimize)) > 30


def test_groups_of_a_transposed_convolution_share_scales_and_have_biases_of_their_own(vnni):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 4, 5, 5] x) => (float[n, 6, 5, 5] y) { y = ConvTranspose <group = 2> (x, w, b) }
    """
    batches = rows(2, 4, 5, 5)
    exact, made = quantized(text, vnni, batches, w=(4, 3, 1, 1), b=(6,))
    for optimize in (True, False):
        assert sqnr(outputs_of(exact, batches[0]), outputs_of(made, batches[0], optimize=optimize)) > 25


def test_half_precision_tensors_have_scales_of_their_type(vnni):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float16[n, 8] x) => (float16[n, 4] y) { y = MatMul (x, w) }
    """
    model = named(onnx.parser.parse_model(text))
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float16)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    scheme = Scheme("uint8", "int8", per_channel=True, symmetric_activation=False, symmetric_weight=True)
    nodes = (NodePlan("y", "MatMul", "int8", "float", Cause.WEIGHTS),)
    plan = Plan("t", scheme, nodes, (TensorPlan("x", "uint8", -3.0, 3.0, "min-max"),), ())
    made = ir.to_proto(insert_qdq(as_ir(model), plan))
    onnx.checker.check_model(made, full_check=True)
    assert {value.dtype.name for name, value in constants_of(made.graph).items() if name.endswith("_scale")} == {"float16"}


def test_weights_and_biases_are_those_of_onnxruntimes_quantizer(vnni):
    """The reference this pass took the place of; it rounds more tensors, and the same constants."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    generator = np.random.default_rng(1)
    batches = [{"x": generator.standard_normal((2, 3, 16, 16), dtype=np.float32)} for _ in range(3)]
    prepared = prepare(ir.from_proto(named(conv_net())), "model", rewrite=False)
    plan = draft_plan(prepared, batches, vnni, QuantizeConfig()).plan
    mine = constants_of(ir.to_proto(insert_qdq(prepared.model, plan)).graph)
    ranges = {item.name: TensorData(lowest=np.float32(item.low), highest=np.float32(item.high)) for item in plan.tensors}
    ranges |= {"y": TensorData(lowest=np.float32(-1), highest=np.float32(1))}
    options = {"ForceQuantizeNoInputCheck": True, "WeightSymmetric": True}
    kinds = [QuantType.QInt8, QuantType.QUInt8]
    ops = sorted({node.op for node in plan.integer_nodes})
    theirs = QDQQuantizer(
        ir.to_proto(prepared.model), True, False, *kinds, ranges, [node.name for node in plan.integer_nodes], [], ops, options
    ).quantize_model()  # fmt: skip
    wanted = constants_of(theirs.graph)
    held = [name for name in wanted if name.startswith(("w", "b"))]
    assert len(held) >= 18
    for name in held:
        np.testing.assert_array_equal(mine[name].reshape(-1), wanted[name].reshape(-1), err_msg=name)
        assert mine[name].dtype == wanted[name].dtype


@pytest.mark.parametrize("function", ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
def test_an_integer_gemm_is_not_fused_into_a_floating_one_by_the_function_behind_it(function, saved, tmp_path, vnni):
    text = f"""
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 16] x) => (float[n, 8] y) {{ a = Gemm (x, w1, b1) r = {function} (a) y = Gemm (r, w2, b2) }}
    """
    model = named(fill(onnx.parser.parse_model(text), w1=(16, 32), b1=(32,), w2=(32, 8), b2=(8,)))
    config = QuantizeConfig(exclude=["y"])
    made = quantize(saved(model), rows(8, 16), target=vnni, output=tmp_path / "q.onnx", config=config)
    assert made.facts.coverage.int8_macs_share == pytest.approx(16 / (16 + 8))
    assert sqnr(outputs_of(model, rows(8, 16)[0]), outputs_of(onnx.load(made.path), rows(8, 16)[0])) > 25
