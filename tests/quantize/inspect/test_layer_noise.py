"""SQNR of tensors and outputs, compared with a plain computation."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import serialized
from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.inspect.layer_noise import all_dequantized, layer_noise, rounded_forms
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.targets.target import load_target
from tests.quantize.conftest import conv_net


@pytest.fixture(scope="module")
def made():
    generator = np.random.default_rng(1)
    batches = [{"x": generator.standard_normal((2, 3, 16, 16), dtype=np.float32)} for _ in range(3)]
    prepared = prepare(ir.from_proto(conv_net()), "net")
    plan = draft_plan(prepared, batches, load_target("x86-vnni"), QuantizeConfig(float_layers="none")).plan
    return prepared.model, insert_qdq(prepared.model, plan), plan, batches


def plain_db(model, quantized, batches):
    before, after = (ort.InferenceSession(serialized(item), providers=["CPUExecutionProvider"]) for item in (model, quantized))
    pairs = [(before.run(None, batch)[0], after.run(None, batch)[0]) for batch in batches]
    signal = sum(float(np.square(want.astype(np.float64)).sum()) for want, _ in pairs)
    noise = sum(float(np.square(want.astype(np.float64) - got).sum()) for want, got in pairs)
    return 10 * np.log10(signal / noise)


def test_outputs_are_compared_over_all_batches(made):
    model, quantized, _, batches = made
    exact = ExactOutputs(model, batches)
    [output] = exact.noise(quantized)
    assert (output.name, output.op) == ("y", "output")
    assert output.sqnr_db == pytest.approx(plain_db(model, quantized, batches), abs=0.05)
    assert exact.db(quantized) == output.sqnr_db
    assert exact.db(model) == 150


def test_every_integer_node_is_looked_at_in_the_graphs_order(made):
    model, quantized, plan, batches = made
    layers = layer_noise(ExactOutputs(model, batches), quantized, plan)
    assert [layer.op for layer in layers][-1] == "output"
    order = [node.name for node in model.graph if node.name in {layer.name for layer in layers}]
    assert [layer.name for layer in layers if layer.op != "output"] == order
    assert all(15 < layer.sqnr_db <= 150 for layer in layers)


def test_a_rounded_activation_is_read_behind_its_dequantizer(made):
    forms = rounded_forms(made[1])
    assert "x" in forms and forms["x"] != "x"


def test_activations_without_a_dequantizer_get_one_on_a_copy(made):
    quantized = made[1]
    assert all_dequantized(quantized) is quantized
    bare = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 21]> g (float[n] x) => (uint8[n] y)
        <float s = {0.1}, uint8 z = {0}> { q = QuantizeLinear (x, s, z) y = Identity (q) }"""
    )
    shown = all_dequantized(bare)
    assert [node.op_type for node in shown.graph] == ["QuantizeLinear", "Identity", "DequantizeLinear"]
    assert len(list(bare.graph)) == 2 and rounded_forms(shown)["x"]
