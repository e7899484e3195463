"""The predicted time of a placement, added up by hand; and the plans that follow from it."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.placement import place
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.search.kernel_times import KernelTimes
from edgeopt.targets.target import Costs, Target, load_target

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 4, 8, 8] x) => (float[n, 6, 8, 8] y) {
    a = Conv (x, w1)
    s = Sigmoid (a)
    m = Mul (a, s)
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16> (m, w2)
    y = Conv (d, w3)
}
"""
SHAPES = {"w1": (16, 4, 1, 1), "w2": (16, 1, 3, 3), "w3": (6, 16, 1, 1)}
MACS = {"a": 64 * 16 * 4, "d": 64 * 16 * 9, "y": 64 * 6 * 16}
PIXELS = 64


def costs(floating, integer) -> Costs:
    return Costs.read({"floating": floating, "integer": integer}, where="the test")


@pytest.fixture
def net() -> onnx.ModelProto:
    model = onnx.parser.parse_model(NET)
    generator = np.random.default_rng(0)
    for node in model.graph.node:
        node.name = node.output[0]
    for name, shape in SHAPES.items():
        values = generator.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def batches():
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((1, 4, 8, 8)).astype(np.float32)} for _ in range(4)]


def predicted(model, batch, kinds: Costs, *floating: str) -> float:
    loaded = ir.from_proto(model)
    nodes = place(loaded, dict.fromkeys(floating, Why(Cause.EXCLUDED)))
    return KernelTimes(loaded, batch, kinds).total_us(nodes)


def test_kernels_count_by_their_kind_and_size(net, batches):
    kinds = costs(
        {},
        {"Conv.pointwise": {"node_us": 2, "mac_ps": 1000}, "Conv.depthwise": {"mac_ps": 5000}, "*": {"element_ps": 100}},
    )
    elementwise = 2 * 16 * PIXELS * 100e-6
    expected = 2 * 2 + (MACS["a"] + MACS["y"]) * 1e-3 + MACS["d"] * 5e-3 + elementwise
    assert predicted(net, batches[0], kinds) == pytest.approx(expected)


def test_convolutions_of_windows_with_few_channels_have_a_kernel_of_their_own(net, batches):
    kinds = costs({}, {"Conv": {"node_us": 1}, "Conv.narrow": {"node_us": 100, "element_ps": 1000}, "Conv.depthwise": {}})
    narrow = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 4, 8, 8] x) => (float[n, 8, 8, 8] y) {
    wide = Conv <pads = [1, 1, 1, 1]> (x, w1)
    slim = Conv <pads = [1, 1, 1, 1]> (wide, w2)
    y = Conv (slim, w3)
}
"""
    model = onnx.parser.parse_model(narrow)
    for node in model.graph.node:
        node.name = node.output[0]
    for name, shape in {"w1": (16, 4, 3, 3), "w2": (15, 16, 3, 3), "w3": (8, 15, 1, 1)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    model = onnx.shape_inference.infer_shapes(model)
    assert predicted(model, batches[0], kinds) == pytest.approx(1 + 100 + 15 * PIXELS * 1e-3 + 1)


def test_conversions_stand_where_integers_meet_floats(net, batches):
    kinds = costs({}, {"QuantizeLinear": {"node_us": 1}, "DequantizeLinear": {"node_us": 10}, "Transpose": {"node_us": 100}})
    assert predicted(net, batches[0], kinds) == 110  # the output; the input's conversion is the same in every placement
    assert predicted(net, batches[0], kinds, "a", "s", "m") == 211  # m is rounded behind the floats
    assert predicted(net, batches[0], kinds, "d") == 110 + 110 + 101  # m in floats for d, d rounded for y
    assert predicted(net, batches[0], kinds, "a", "s", "m", "d", "y") == 0


def test_the_two_nodes_of_silu_are_one_kernel_in_floating_point(net, batches):
    kinds = costs({"SiLU": {"node_us": 1}, "Sigmoid": {"node_us": 100}, "Mul": {"node_us": 100}}, {"Sigmoid": {"node_us": 7}})
    assert predicted(net, batches[0], kinds, "a", "s", "m", "d", "y") == 1
    assert predicted(net, batches[0], kinds, "m") == 1  # and a Sigmoid whose product floats is not worth its roundings either
    assert predicted(net, batches[0], kinds) == pytest.approx(7 + 100)  # no cost of an integer Mul is known: as in floats


def test_the_layout_changes_around_floating_convolutions(net, batches):
    kinds = costs({"Reorder": {"node_us": 1}}, {})
    assert predicted(net, batches[0], kinds, "a", "s", "m", "d", "y") == 1  # the output alone: the input is read in place
    assert predicted(net, batches[0], kinds, "d") == 2  # into d and out of it


def planned(model, batches, tmp_path, vnni: Target, kinds: Costs, **options):
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    quantization = vnni.quantization.model_copy(update={"costs": kinds})
    target = vnni.model_copy(update={"quantization": quantization})
    result = quantize(path, batches, target=target, output=tmp_path / "q.onnx", config=QuantizeConfig(**options))
    return {node.op + " " + node.name: node for node in load_plan(result.plan_path).nodes}, result


def test_what_is_faster_in_floating_point_stays_there(net, batches, tmp_path, vnni):
    slow = {"*": {"node_us": 500}}
    kinds = costs(
        {**slow, "SiLU": {"node_us": 20}, "Conv.depthwise": {"node_us": 1}},
        {"*": {"node_us": 10}, "Conv.depthwise": {"node_us": 300}},
    )
    nodes, result = planned(net, batches, tmp_path, vnni, kinds)
    assert {name for name, node in nodes.items() if node.cause is Cause.BALANCE} >= {"Conv d"}
    assert nodes["Conv a"].precision == nodes["Conv y"].precision == "int8"
    assert any(decision.what == "floating layers" for decision in result.facts.decisions)


def test_nothing_floats_where_integers_are_fast_and_exact(net, batches, tmp_path, vnni):
    kinds = costs({"*": {"node_us": 5000}}, {"*": {"node_us": 30}})
    nodes, _ = planned(net, batches, tmp_path, vnni, kinds)
    assert all(node.precision == "int8" for node in nodes.values())


def test_none_of_it_happens_when_it_is_switched_off(net, batches, tmp_path, vnni):
    kinds = costs({"Conv.depthwise": {"node_us": 1}}, {"Conv.depthwise": {"node_us": 500}})
    nodes, _ = planned(net, batches, tmp_path, vnni, kinds, float_layers="none")
    assert all(node.precision == "int8" for node in nodes.values())


def test_a_net_predicted_to_be_slower_on_integers_is_warned_of(saved, tmp_path) -> None:
    """One small pointwise convolution between activation functions without integer kernels: conversions cost more than it."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (float[n, 4, 64, 64] x) => (float[n, 4, 64, 64] y) { a = Elu (x)  c = Conv (a, w)  y = Elu (c) }
    """)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w"))
    batches = [{"x": np.random.default_rng(0).standard_normal((1, 4, 64, 64)).astype(np.float32)} for _ in range(2)]
    path = saved(model)
    config = QuantizeConfig(float_layers="none")
    warned = quantize(path, batches, target=load_target("x86-vnni"), output=tmp_path / "q.onnx", config=config).facts.warnings
    (warning,) = [text for text in warned if "slower" in text]
    assert warning.startswith("int8 is predicted to be slower than floating point on this target (")
    unknown = quantize(path, batches, target=load_target("arm64"), output=tmp_path / "a.onnx", config=config).facts.warnings
    assert not [text for text in unknown if "slower" in text]  # no costs stand with that target


def test_a_model_that_is_faster_in_floating_point_throughout_is_still_quantized_and_warned_of(saved, tmp_path) -> None:
    """Depthwise convolutions alone, whose integer kernels are slower on this target: all of them could float."""
    layers = " ".join(
        f"c{i} = Conv <group = 16, kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (h{i}, w) h{i + 1} = Elu (c{i})"
        for i in range(3)
    )
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 16, 64, 64] h0) => (float[n, 16, 64, 64] h3) { ' + layers + " }"
    )
    weight = np.random.default_rng(0).standard_normal((16, 1, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    batches = [{"h0": np.random.default_rng(seed).standard_normal((1, 16, 64, 64)).astype(np.float32)} for seed in range(2)]
    facts = quantize(saved(model), batches, target=load_target("x86-vnni"), output=tmp_path / "q.onnx").facts
    assert facts.coverage.int8_macs_share == 1.0
    assert [text for text in facts.warnings if text.startswith("int8 is predicted to be slower")]
