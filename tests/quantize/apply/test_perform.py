"""A plan carried out: pairs inserted, biases corrected where the options say so, and the floating model left as it was."""

import numpy as np
import onnx
import onnx_ir as ir

from edgeopt.graph.matching import array
from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.apply.bias import dequantized, rounded_layers
from edgeopt.quantize.apply.perform import perform
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from tests.quantize.conftest import fill, named

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 3, 8, 8] x) => (float[n, 6, 8, 8] y) { a = Conv (x, w1, b1)  r = Relu (a)  y = Conv (r, w2, b2) }
"""


def test_pairs_stand_in_the_copy_and_biases_are_corrected_by_the_options(vnni) -> None:
    shapes = {"w1": (5, 3, 1, 1), "b1": (5,), "w2": (6, 5, 1, 1), "b2": (6,)}
    prepared = prepare(ir.from_proto(named(fill(onnx.parser.parse_model(NET), **shapes))), "net")
    batches = [{"x": np.random.default_rng(seed).uniform(1, 3, (1, 3, 8, 8)).astype(np.float32)} for seed in range(4)]
    drafted = draft_plan(prepared, batches, vnni, QuantizeConfig())
    before = [node.op_type for node in prepared.model.graph]
    biases = {}
    for corrected in (False, True):
        config = QuantizeConfig(correct_bias=corrected)
        made = perform(prepared.model, drafted.plan, drafted.observations, config)
        assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in made.graph}
        layers = [node for node in made.graph if node.op_type == "Conv"]
        biases[corrected] = [np.asarray(array(node.inputs[2].producer().inputs[0])) for node in layers]
    assert [node.op_type for node in prepared.model.graph] == before
    assert any((a != b).any() for a, b in zip(biases[False], biases[True], strict=True))


PRODUCT = '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 16] x) => (float[n, 12] y) { y = Gemm (x, w, b) }'


def test_the_bias_of_a_layer_with_a_smoothed_input_is_corrected_for_its_scaled_weights(vnni) -> None:
    prepared = prepare(ir.from_proto(named(fill(onnx.parser.parse_model(PRODUCT), w=(16, 12), b=(12,)))), "net")
    generator = np.random.default_rng(0)
    sizes = np.exp(1.5 * generator.standard_normal(16))
    batches = [{"x": ((generator.standard_normal((32, 16)) + 2) * sizes).astype(np.float32)} for _ in range(4)]
    drafted = draft_plan(prepared, batches, vnni, QuantizeConfig())
    (item,) = drafted.plan.smoothing
    made = perform(prepared.model, drafted.plan, drafted.observations, QuantizeConfig())
    floating = smoothed(prepared.model, drafted.plan)
    (layer,) = rounded_layers(floating, made)
    given = np.asarray(array(layer.node.inputs[2]), dtype=np.float64)
    stored = layer.there.inputs[2].producer()
    error = layer.rounded - layer.weight
    mean = np.concatenate([batch["x"] for batch in batches]).mean(axis=0, dtype=np.float64) / np.asarray(item.factors)
    shift = mean @ (error.T if layer.node.attributes.get_int("transB", 0) else error)
    step = np.asarray(array(stored.inputs[1]), dtype=np.float64)
    assert np.abs(shift).max() > 3 * step.max()
    np.testing.assert_allclose(dequantized(stored), given - shift, rtol=0, atol=float(step.max()))
