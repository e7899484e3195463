"""The pipelines as wholes: an encoder block comes out in the form that kernels take best, and computes the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.graph.shapes import infer_types
from edgeopt.passes import pipelines
from edgeopt.quantize.prepare import prepare

GENERATOR = np.random.default_rng(11)

BLOCK = """
<ir_version: 10, opset_import: ["" : 24]>
block (float[batch, sequence, 8] x) => (RESULT)
<int64[4] heads = {0, 0, 2, 4}, int64[3] flat = {0, 0, 8}, int64 zero = {0}> {
    q = MatMul (x, wq)
    k = MatMul (x, wk)
    v = MatMul (x, wv)
    q4 = Reshape (q, heads)
    k4 = Reshape (k, heads)
    v4 = Reshape (v, heads)
    qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    kt = Transpose <perm = [0, 2, 1, 3]> (k4)
    vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    a = Attention (qt, kt, vt)
    at = Transpose <perm = [0, 2, 1, 3]> (a)
    af = Reshape (at, flat)
    o = MatMul (af, wo)
    ob = Add (o, bo)
    r = Add (ob, x)
    n = NORM
    u = MatMul (n, wu)
    ub = Add (bu, u)
    ge = Gelu (ub)
    d = MatMul (ge, wd)
    r2 = Add (d, n)
    h = LayerNormalization <axis = -1> (r2, g, b)
    TAIL
}
"""
SHAPES = {
    "wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "wo": (8, 8), "bo": (8,), "g": (8,), "b": (8,),
    "wu": (8, 32), "bu": (32,), "wd": (32, 8), "wc": (8, 3),
}  # fmt: skip
NORMS = {"layer": "LayerNormalization <axis = -1> (r, g, b)", "rms": "RMSNormalization <axis = 2> (r, g)"}


def block(*, chosen: bool, norm: str = "layer") -> onnx.ModelProto:
    tail = "c = Gather <axis = 1> (h, zero) y = MatMul (c, wc)" if chosen else "y = MatMul (h, wc)"
    result = "float[batch, 3] y" if chosen else "float[batch, sequence, 3] y"
    model = onnx.parser.parse_model(BLOCK.replace("RESULT", result).replace("TAIL", tail).replace("NORM", NORMS[norm]))
    for name, shape in SHAPES.items():
        values = (GENERATOR.standard_normal(shape) * 0.5).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def ops(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def outputs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def assert_same(before: onnx.ModelProto, after: ir.Model) -> None:
    made = ir.to_proto(after)
    onnx.checker.check_model(made, full_check=True)
    for shape in ((1, 5, 8), (3, 2, 8), (2, 1, 8)):
        x = GENERATOR.standard_normal(shape, dtype=np.float32)
        expected, got = outputs(before, x), outputs(made, x)
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=f"largest error {np.abs(got - expected).max()}")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("chosen", [False, True])
def test_quantize_for_cpu_keeps_the_function(chosen, norm):
    model = block(chosen=chosen, norm=norm)
    prepared = prepare(as_ir(model), "model").model
    assert_same(model, prepared)
    assert ops(prepared)["MatMul"] == 0
    assert ops(prepared)["Transpose"] == 0
    assert ops(prepared)["Gemm"] == 7


def test_what_each_step_of_quantize_for_cpu_changes():
    model = as_ir(block(chosen=True))
    infer_types(model)
    changes = pipelines.run(model, pipelines.QUANTIZE_FOR_CPU, changed=infer_types)
    assert {change.step.title: change.count for change in changes} == {
        "flat attention": 1,
        "chosen rows": 12,  # query projection, attention and all after it
        "folded rows": 2,  # keys and values: all else works on one row
        "Gemm for MatMul + Add": 7,
        "Sum for residual Add": 2,
    }
    assert_same(block_again := ir.to_proto(model), model)
    assert block_again.graph.output[0].name == "y"


def test_only_the_chosen_row_is_computed():
    model = as_ir(block(chosen=True))
    infer_types(model)
    pipelines.run(model, pipelines.QUANTIZE_FOR_CPU[:3], changed=infer_types)
    shapes = {value.name: value.shape for node in model.graph for value in node.outputs}
    assert shapes["ge"] == ["batch", 32]
    assert shapes["k"] == ["batch", "sequence", 8]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("chosen", [False, True])
def test_export_keeps_the_function(chosen, norm):
    model = block(chosen=chosen, norm=norm)
    exported = as_ir(onnx.shape_inference.infer_shapes(model))
    removed = pipelines.optimize(exported)
    assert_same(model, exported)
    assert ops(exported)["Transpose"] == 0 and ops(exported)["Gemm"] > 0
    assert removed["AttentionLayout"] > 0 and set(removed) == {kind.__name__ for kind in pipelines.EXPORT}


def test_every_pass_belongs_to_a_pipeline():
    steps = (*pipelines.QUANTIZE_FOR_CPU, *pipelines.QUANTIZE_FOR_NPU)
    kinds = {*pipelines.EXPORT, *(type(step.make()) for step in steps)}
    assert {kind.__name__ for kind in kinds} >= {"FlattenRows", "Gemm", "ResidualSums", "BoundedMasks"}


def test_users_names_are_kept_where_a_pass_would_make_the_same():
    text = """<ir_version: 10, opset_import: ["" : 24]>
    net (float[batch, sequence, 8] x) => (float[batch, sequence, 8] y, float[batch, sequence, 8] x_rows)
    <float[8] shape_minus1_8 = {1, 2, 3, 4, 5, 6, 7, 8}, float[8] p_rows = {8, 7, 6, 5, 4, 3, 2, 1}> {
        p = MatMul (x, w)
        s = Add (p, shape_minus1_8)
        y = Mul (s, p_rows)
        x_rows = Neg (x)
    }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(8, dtype=np.float32) * 2, "w"))
    after = as_ir(model)
    infer_types(after)
    changes = pipelines.run(after, pipelines.QUANTIZE_FOR_CPU, changed=infer_types)
    assert [change.step.title for change in changes] == ["folded rows", "Gemm for MatMul + Add"]
    assert_same(model, after)
