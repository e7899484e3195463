"""Nodes that touch infinity stay in floating point, the others are quantized, and the outputs stay right."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.errors import DataError
from edgeopt.quantize import quantize
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.sqnr import Noise
from edgeopt.targets.target import load_target
from tests.quantize.conftest import fill, named

CLASSES = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 16] x) => (float[n, 8] y) {
    h = Gemm (x, w1, b1)
    r = Relu (h)
    l = Gemm (r, w2, b2)
    y = Softmax (l)
}
"""
POOLED = """
<ir_version: 10, opset_import: ["" : 17]>
g (float[n, 3, 16, 16] x) => (float[n, 4, 8, 8] y) <int64[8] pads = {0, 0, 0, 0, 0, 0, 1, 1}> {
    a = Conv <pads = [1, 1, 1, 1]> (x, w1)
    r = Relu (a)
    p = Pad (r, pads, low)
    m = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (p)
    y = Conv <pads = [1, 1, 1, 1]> (m, w2)
}
"""
SCORES = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[1, 6, 8] x, bool[1, 1, 6] mask) => (float[1, 6, 8] y) <float zero = {0.0}> {
    q = MatMul (x, wq)
    kt = Transpose <perm = [0, 2, 1]> (q)
    scores = MatMul (q, kt)
    deep = Where (mask, zero, low)
    masked = Add (scores, deep)
    p = Softmax <axis = -1> (masked)
    v = MatMul (p, x)
    y = MatMul (v, wo)
}
"""


def constant(model: onnx.ModelProto, name: str, values) -> onnx.ModelProto:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
    return model


def compared(model, batches, target, saved, tmp_path):
    """Quantize, and return the plan's causes by node and the SQNR of the outputs, optimised and not."""
    path = saved(model)
    made = quantize(path, batches, target=load_target(target), output=tmp_path / "q.onnx")
    found = []
    for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
        options, noise = ort.SessionOptions(), Noise()
        options.graph_optimization_level = level
        sessions = [ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]) for file in (path, made.path)]
        for batch in batches:
            noise.add(*(session.run(None, batch)[0] for session in sessions))
        found.append(noise.db)
    return {node.name: (node.precision, node.cause) for node in load_plan(made.plan_path).nodes}, found


@pytest.mark.parametrize("low", [-np.inf, -3.4e38])
@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "qnn-htp-emulated", "nnapi", "tensorrt"])
def test_a_bias_of_minus_infinity_keeps_its_layer_floating(low, target, saved, tmp_path):
    model = constant(named(fill(onnx.parser.parse_model(CLASSES), w1=(16, 16), b1=(16,), w2=(16, 8))), "b2", [0.1, low] * 4)
    batches = [{"x": np.random.default_rng(seed).standard_normal((4, 16)).astype(np.float32)} for seed in range(4)]
    nodes, noise = compared(model, batches, target, saved, tmp_path)
    assert nodes["l"] == ("float", Cause.INFINITE)
    assert nodes["h"][0] == "int8"
    assert min(noise) > 20


@pytest.mark.parametrize("target", ["x86-vnni", "arm64", "qnn-htp-emulated", "nnapi"])
def test_padding_with_minus_infinity_stays_floating_and_the_convolutions_do_not(target, saved, tmp_path):
    model = named(fill(onnx.parser.parse_model(POOLED), w1=(8, 3, 3, 3), w2=(4, 8, 3, 3)))
    batches = [{"x": np.random.default_rng(seed).standard_normal((2, 3, 16, 16)).astype(np.float32)} for seed in range(4)]
    nodes, noise = compared(constant(model, "low", -np.inf), batches, target, saved, tmp_path)
    assert nodes["p"] == ("float", Cause.NOT_TAKEN if target == "nnapi" else Cause.INFINITE)
    assert nodes["a"][0] == nodes["y"][0] == "int8"
    assert min(noise) > 20


@pytest.mark.parametrize("low", [-np.inf, -3.4e38])
@pytest.mark.parametrize("target", ["x86-vnni", "tensorrt"])
def test_masks_of_scores_are_not_rounded(low, target, saved, tmp_path):
    mask = np.ones((1, 1, 6), dtype=bool)
    mask[0, 0, 4:] = False
    batches = [
        {"x": np.random.default_rng(seed).standard_normal((1, 6, 8)).astype(np.float32), "mask": mask} for seed in range(4)
    ]
    model = constant(named(fill(onnx.parser.parse_model(SCORES), wq=(8, 8), wo=(8, 8))), "low", low)
    nodes, noise = compared(model, batches, target, saved, tmp_path)
    assert nodes["masked"][0] == "float"
    assert min(noise) > 20


def test_an_overflow_that_no_constant_means_is_the_samples_fault(saved, tmp_path, vnni):
    model = named(fill(onnx.parser.parse_model(CLASSES), w1=(16, 16), b1=(16,), w2=(16, 8), b2=(8,)))
    batches = [{"x": np.full((1, 16), 3e38, dtype=np.float32)}]
    with pytest.raises(DataError, match="becomes NaN or infinite"):
        quantize(saved(model), batches, target=vnni, output=tmp_path / "q.onnx")


def test_one_scale_for_all_channels_does_not_make_room_for_a_huge_bias(saved, tmp_path):
    model = constant(named(fill(onnx.parser.parse_model(CLASSES), w1=(16, 16), b1=(16,), w2=(16, 8))), "b2", [0.1, -1e9] * 4)
    batches = [{"x": np.random.default_rng(seed).standard_normal((4, 16)).astype(np.float32)} for seed in range(4)]
    nodes, _ = compared(model, batches, "nnapi", saved, tmp_path)
    assert nodes["l"] == ("float", Cause.BIAS_SIZE)
    nodes, noise = compared(model, batches, "x86-vnni", saved, tmp_path)
    assert nodes["l"][0] == "int8", "with a scale per channel the others keep their levels"
    assert min(noise) > 20


def test_a_tensor_that_is_empty_on_every_sample_keeps_its_nodes_floating(saved, tmp_path, vnni):
    model = named(fill(onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 16] x, float[m, 16] e) => (float[n, 8] y, float[m, 8] z) { y = MatMul (x, w1) z = MatMul (e, w1) }
    """), w1=(16, 8)))  # fmt: skip
    generator = np.random.default_rng(0)
    batches = [{"x": generator.standard_normal((4, 16), dtype=np.float32), "e": np.zeros((0, 16), np.float32)}] * 3
    made = quantize(saved(model), batches, target=vnni, output=tmp_path / "q.onnx")
    causes = {node.name: (node.precision, node.cause) for node in load_plan(made.plan_path).nodes}
    assert ("float", Cause.UNSEEN) in causes.values()
    assert "int8" in {precision for precision, _ in causes.values()}


@pytest.mark.parametrize("target", ["x86-vnni", "qnn-htp-emulated"])
def test_a_mask_of_minus_infinity_among_the_inputs_is_meant(target, saved, tmp_path):
    """Every other sample has nothing to hide, and so no infinity."""
    text = SCORES.replace("bool[1, 1, 6] mask", "float[1, 1, 6] mask").replace("deep = Where (mask, zero, low)", "")
    text = text.replace("<float zero = {0.0}>", "").replace("(scores, deep)", "(scores, mask)")
    model = named(fill(onnx.parser.parse_model(text), wq=(8, 8), wo=(8, 8)))
    generator = np.random.default_rng(0)
    mask = np.array([[[0, 0, 0, 0, -np.inf, -np.inf]]], np.float32)
    batches = [
        {"x": generator.standard_normal((1, 6, 8)).astype(np.float32), "mask": hides}
        for hides in (mask, np.zeros_like(mask)) * 3
    ]
    nodes, noise = compared(model, batches, target, saved, tmp_path)
    assert nodes["q"][0] == "int8"
    assert min(noise) > 20
    broken = [{**batches[0], "mask": np.where(mask < 0, np.nan, mask)}]
    with pytest.raises(DataError, match=r"input 'mask': holds nan"):
        quantize(saved(model), broken, target=load_target(target), output=tmp_path / "q.onnx")
