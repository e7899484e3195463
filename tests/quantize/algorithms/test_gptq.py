"""Error feedback against plain rounding and brute force, and the packed form against what onnxruntime makes of it."""

from itertools import product

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir, serialized, signature
from edgeopt.quantize.algorithms.gptq import Blocks, quantize_blocks, second_moments
from edgeopt.quantize.schemes.pack import pack_product, packed


def correlated(size: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    mixing = generator.standard_normal((size, size)) * np.exp(-3 * np.arange(size) / size)[:, None]
    return generator.standard_normal((rows, size)) @ mixing


def error(rows: np.ndarray, exact: np.ndarray, rounded: np.ndarray) -> float:
    return float(np.square(rows @ (exact - rounded)).sum() / np.square(rows @ exact).sum())


@pytest.mark.parametrize("symmetric", [False, True])
def test_error_feedback_beats_plain_rounding_by_far(symmetric):
    generator = np.random.default_rng(0)
    rows, weight = correlated(96, 2000, generator), generator.standard_normal((96, 16))
    options = {"bits": 4, "block": 32, "symmetric": symmetric}
    plain = quantize_blocks(weight, np.eye(96), **options).matrix(32)
    solved = quantize_blocks(weight, rows.T @ rows, **options).matrix(32)
    assert error(rows, weight, solved) < 0.4 * error(rows, weight, plain)


def test_on_the_same_grid_it_comes_near_the_best_of_all_roundings():
    generator = np.random.default_rng(1)
    rows, weight = correlated(6, 500, generator), generator.standard_normal((6, 1))
    made = quantize_blocks(weight, rows.T @ rows, bits=4, block=16, symmetric=False)
    floor = np.floor(weight / made.scales[0]) + made.zeros[0]
    tried = (Blocks(floor + np.array(up)[:, None], made.scales, made.zeros) for up in product((0, 1), repeat=6))
    best = min(error(rows, weight, blocks.matrix(16)) for blocks in tried)
    assert error(rows, weight, made.matrix(16)) < 3 * best


@pytest.mark.parametrize(("bits", "size", "symmetric"), [(4, 96, False), (4, 80, True), (8, 64, False), (4, 70, False)])
def test_onnxruntime_reads_the_blocks_as_they_are_meant(bits, size, symmetric):
    generator = np.random.default_rng(2)
    weight = generator.standard_normal((size, 24))
    options = {"bits": bits, "block": 32, "symmetric": symmetric}
    blocks = quantize_blocks(weight, np.eye(size), **options)
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
        g (float[n, {size}] x, float[{size}, 24] w) => (float[n, 24] y) {{ [product] y = MatMul (x, w) }}"""
    )
    pack_product(model.graph, model.graph[0], blocks, **options)
    model.graph.inputs.pop()
    rows = generator.standard_normal((5, size)).astype(np.float32)
    session = ort.InferenceSession(serialized(model), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": rows})[0], rows @ blocks.matrix(32), atol=2e-4)


def test_packing_puts_the_first_number_below():
    assert packed(np.array([[1, 2, 15]], dtype=np.uint8), 4).tolist() == [[0x21, 0x0F]]


def test_second_moments_are_those_of_all_rows(text_model, sentences):
    loaded = as_ir(text_model)
    found = second_moments(loaded, {"h": 16}, sentences, signature(loaded), threads=1)
    ((name, inner, samples),) = found
    text_model.graph.output.append(onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(text_model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = np.concatenate([session.run(["h"], batch)[0].reshape(-1, 16) for batch in sentences]).astype(np.float64)
    assert (name, samples) == ("h", 4)
    np.testing.assert_allclose(inner, rows.T @ rows, rtol=1e-5)
