"""Gemms that add something computed: a product and an Add, so that the product can run on integers."""

import numpy as np
import onnx
import pytest

from edgeopt.passes.computed_biases import ComputedBiases
from edgeopt.quantize import quantize
from edgeopt.targets.target import load_target

BATCH = {"x": np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)}
BEFORE = """
g (float[n, 8] x) => (float[n, 4] y) { s = Tanh (x) c = Gemm (s, u, b) y = Gemm <transB = 1> (x, w, c) }
"""
AFTER = BEFORE.replace("y = Gemm <transB = 1> (x, w, c)", "p = Gemm <transB = 1> (x, w) y = Add (p, c)")
SHAPES = {"w": (4, 8), "u": (8, 4), "b": (4,)}


def test_a_computed_bias_is_added_behind_the_product(golden):
    golden(ComputedBiases(), BEFORE, AFTER, BATCH, **SHAPES)


@pytest.mark.parametrize("text", [BEFORE.replace("<transB = 1>", "<transB = 1, beta = 0.5>"), AFTER])
def test_scaled_and_constant_biases_stay(text, golden):
    golden(ComputedBiases(), text, text, BATCH, **SHAPES)


def test_both_products_of_a_recurrent_cell_run_on_integers(tmp_path):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    cell (float[n, 16] x, float[n, 8] s) => (float[n, 8] y) { a = MatMul (x, w) b = MatMul (s, u) t = Add (a, b) y = Tanh (t) }
    """
    model, generator = onnx.parser.parse_model(text), np.random.default_rng(0)
    for name, shape in {"w": (16, 8), "u": (8, 8)}.items():
        values = (generator.standard_normal(shape) / 4).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "cell.onnx")
    batches = [
        {name: generator.standard_normal((4, size), dtype=np.float32) for name, size in (("x", 16), ("s", 8))} for _ in range(4)
    ]
    made = quantize(tmp_path / "cell.onnx", batches, target=load_target("x86-vnni"), output=tmp_path / "q.onnx")
    assert made.facts.coverage.int8_macs_share == 1.0
    assert next(layer.sqnr_db for layer in made.facts.layers if layer.op == "output") > 25
