"""One rounding at a time: what a gate does is what rounding that layer by hand does."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edgeopt.graph.matching import by_name, is_float
from edgeopt.quantize.apply.bias import rounded_layers
from edgeopt.quantize.apply.gates import Gate, Gated, Rounded
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.sensitivity import sensitivity
from edgeopt.quantize.plan.plan import Plan, TensorPlan
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from tests.quantize.conftest import conv_net, text_net


def batches_of(kind: str) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(3)
    if kind == "conv":
        return [{"x": generator.uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)} for _ in range(4)]
    return [{"ids": generator.integers(0, 50, (2, 6))} for _ in range(4)]


def on_grid(values: np.ndarray, tensor: TensorPlan) -> np.ndarray:
    """Round to the 256 steps of a plan's range and back."""
    info = np.iinfo(tensor.dtype)
    step = np.float32((tensor.high - tensor.low) / (info.max - info.min))
    zero = np.round(info.min - tensor.low / step)
    return ((np.clip(np.round(values / step) + zero, info.min, info.max) - zero) * step).astype(np.float32)


def plain(model: onnx.ModelProto, plan: Plan, layer: str, weight: np.ndarray, batches: list) -> float:
    """Cut the model before `layer`, round there what comes in by hand, go on with rounded weights, and return the SQNR."""
    exact = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    node = next(node for node in model.graph.node if node.name == layer)
    name = node.input[0]
    before, behind = onnx.ModelProto(), onnx.ModelProto()
    before.CopyFrom(model)
    before.graph.output.append(onnx.ValueInfoProto(name=name))
    behind.CopyFrom(model)
    replaced = next(item for item in behind.graph.node if item.name == layer)
    replaced.input[0], replaced.input[1] = "rounded", "rounded_weight"
    behind.graph.input.append(onnx.helper.make_tensor_value_info("rounded", onnx.TensorProto.FLOAT, None))
    behind.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), "rounded_weight"))
    first, second = (
        ort.InferenceSession(item.SerializeToString(), providers=["CPUExecutionProvider"]) for item in (before, behind)
    )
    ranges = {tensor.name: tensor for tensor in plan.tensors}
    signal = noise = 0.0
    for batch in batches:
        wanted = exact.run(None, batch)[0].astype(np.float64)
        got = second.run(["y"], {**batch, "rounded": on_grid(first.run([name], batch)[0], ranges[name])})[0]
        signal, noise = signal + np.square(wanted).sum(), noise + np.square(wanted - got).sum()
    return 10 * np.log10(signal / noise)


@pytest.mark.parametrize("kind", ["conv", "text"])
def test_a_layers_sensitivity_is_that_of_rounding_it_by_hand(kind, vnni):
    batches = batches_of(kind)
    prepared = prepare(ir.from_proto(conv_net() if kind == "conv" else text_net()), kind)
    plan = draft_plan(prepared, batches, vnni, QuantizeConfig(smooth=False)).plan
    quantized = insert_qdq(prepared.model, plan)
    found = {layer.name: layer.sqnr_db for layer in sensitivity(prepared.model, quantized, plan, batches, threads=1)}
    rounded = {layer.node.name: layer.rounded for layer in rounded_layers(prepared.model, quantized)}
    assert len(found) == 3 and set(found) == set(rounded)
    for layer, weight in rounded.items():
        assert found[layer] == pytest.approx(plain(ir.to_proto(prepared.model), plan, layer, weight, batches), abs=0.3)
        assert 20 < found[layer] < 80


def test_nothing_open_changes_nothing_and_all_open_is_the_worst(vnni):
    batches = batches_of("conv")
    prepared = prepare(ir.from_proto(conv_net()), "conv")
    plan = draft_plan(prepared, batches, vnni, QuantizeConfig(ranges="mse")).plan
    gates = [Gate(tensor.name, tensor) for tensor in plan.tensors]
    gated = Gated(prepared.model, gates, batches, threads=1)
    assert gated.sqnr_db(set()) == 150
    alone = gated.of_each()
    assert gated.sqnr_db({gate.name for gate in gates}) < min(alone.values())
    assert set(alone) == {tensor.name for tensor in plan.tensors}
    values = by_name(prepared.model.graph)
    assert all(is_float(values[name]) for name in alone)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_output_of_a_model_is_rounded_where_its_gate_says_so(rounded):
    model = ir.from_proto(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 8] x) => (float[n, 8] r, float[n, 8] y) '
            "{ r = Relu (x) y = Tanh (r) }"
        )
    )
    x = np.random.default_rng(0).uniform(-1, 1, (4, 8)).astype(np.float32)
    tensor = TensorPlan("r", "uint8", 0.0, 2.0, "min-max")
    noise = Gated(model, [Gate("r", tensor, output=rounded)], [{"x": x}], threads=1).noise({"r"})
    exact = np.maximum(x, 0)
    given = on_grid(exact, tensor)
    parts = [(exact, given if rounded else exact), (np.tanh(exact), np.tanh(given))]
    wanted = [np.square(before - after).sum() / np.square(before).sum() for before, after in parts]
    np.testing.assert_allclose(noise, wanted, rtol=1e-2, atol=1e-12)


def test_a_product_without_a_bias_can_be_gated(vnni):
    """onnxruntime's fusion of DequantizeLinear and MatMul looks for the integers inside the branch, and would not load it."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[m, 128] x) => (float[m, 128] y) '
        "{ [a] a = MatMul (x, w) [r] r = Relu (a) [y] y = MatMul (r, w2) }"
    )
    generator = np.random.default_rng(0)
    for name in ("w", "w2"):
        values = (generator.standard_normal((128, 128)) / 11).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    batches = [{"x": generator.standard_normal((8, 128)).astype(np.float32)} for _ in range(2)]
    prepared = prepare(ir.from_proto(model), "products")
    plan = draft_plan(prepared, batches, vnni, QuantizeConfig(smooth=False)).plan
    quantized = insert_qdq(prepared.model, plan)
    layers = list(rounded_layers(prepared.model, quantized))
    gates = [
        Gate(layer.node.name, None, layer.node.name, Rounded(layer.node.inputs[1].name, layer.dequantize)) for layer in layers
    ]
    found = Gated(prepared.model, gates, batches, threads=1).of_each()
    assert len(found) == 2 and all(20 < value < 80 for value in found.values())
