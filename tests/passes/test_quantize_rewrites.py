"""Each rewrite leaves the function alone and does what its Before/After says."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.passes.qdq_attention import flatten_attention
from edgeopt.passes.qdq_chosen_rows import select_rows
from edgeopt.passes.qdq_gemm import flatten_biases, gemms_from_matmuls
from edgeopt.passes.qdq_rows import fold_rows
from edgeopt.passes.residual_sums import unfuse_residuals
from edgeopt.quantize.apply.smooth import smooth
from edgeopt.quantize.prepare import infer_types, prepare

GENERATOR = np.random.default_rng(11)

BLOCK = """
<ir_version: 10, opset_import: ["" : 24]>
block (float[batch, sequence, 8] x) => (RESULT) {
    q = MatMul (x, wq)
    k = MatMul (x, wk)
    v = MatMul (x, wv)
    heads = Constant <value = int64[4] {0, 0, 2, 4}> ()
    q4 = Reshape (q, heads)
    k4 = Reshape (k, heads)
    v4 = Reshape (v, heads)
    qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    kt = Transpose <perm = [0, 2, 1, 3]> (k4)
    vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    a = Attention (qt, kt, vt)
    at = Transpose <perm = [0, 2, 1, 3]> (a)
    flat = Constant <value = int64[3] {0, 0, 8}> ()
    af = Reshape (at, flat)
    o = MatMul (af, wo)
    ob = Add (o, bo)
    r = Add (ob, x)
    n = LayerNormalization <axis = -1> (r, g, b)
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


def block(*, chosen: bool) -> onnx.ModelProto:
    tail = (
        "zero = Constant <value = int64 {0}> () c = Gather <axis = 1> (h, zero) y = MatMul (c, wc)"
        if chosen
        else "y = MatMul (h, wc)"
    )
    result = "float[batch, 3] y" if chosen else "float[batch, sequence, 3] y"
    model = onnx.parser.parse_model(BLOCK.replace("RESULT", result).replace("TAIL", tail))
    for name, shape in SHAPES.items():
        values = (GENERATOR.standard_normal(shape) * 0.5).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def bare(model: onnx.ModelProto) -> onnx.ModelProto:
    return prepare(model, "model", rewrite=False).model


def ops(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def outputs(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    onnx.checker.check_model(after, full_check=True)
    for shape in ((1, 5, 8), (3, 2, 8), (2, 1, 8)):
        x = GENERATOR.standard_normal(shape, dtype=np.float32)
        expected, got = outputs(before, x=x), outputs(after, x=x)
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=f"largest error {np.abs(got - expected).max()}")


@pytest.mark.parametrize("chosen", [False, True])
def test_all_together_keep_the_function(chosen):
    model = block(chosen=chosen)
    prepared = prepare(model, "model").model
    assert_same(model, prepared)
    assert ops(prepared)["MatMul"] == 0
    assert ops(prepared)["Transpose"] == 0


def test_attention_takes_its_heads_side_by_side():
    model = bare(block(chosen=False))
    after = onnx.ModelProto()
    after.CopyFrom(model)
    assert flatten_attention(after) == 1
    assert_same(model, after)
    assert ops(after)["Transpose"] == 0
    assert ops(after)["Reshape"] == 0


def test_attention_with_other_transposes_is_left_alone():
    model = block(chosen=False)
    for node in model.graph.node:
        if node.output[0] == "kt":
            node.attribute[0].ints[:] = [2, 1, 0, 3]
    prepared = infer_types(model)
    assert flatten_attention(prepared) == 0


def test_rows_are_folded_with_one_reshape_at_each_border():
    model = bare(block(chosen=False))
    after = onnx.ModelProto()
    after.CopyFrom(model)
    flatten_attention(after)
    assert fold_rows(after) == 7
    after = infer_types(after)
    assert_same(model, after)
    assert ops(after)["Reshape"] == 6  # x and the attention's result go in; q, k, v and y come out


def test_a_bias_of_each_row_stays_outside_the_gemm():
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[m, 4] x) => (float[m, 3] y) { p = MatMul (x, w) y = Add (p, c) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3), dtype=np.float32), "w"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((2, 1), dtype=np.float32), "c"))
    model = infer_types(model)
    assert gemms_from_matmuls(model) == 1
    assert ops(model) == {"Gemm": 1, "Add": 1}


@pytest.mark.parametrize("shape", [(), (1,), (1, 3), (3,)])
def test_biases_become_vectors(shape):
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float[m, 4] x) => (float[m, 3] y) { y = Gemm (x, w, c) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3), dtype=np.float32), "w"))
    bias = GENERATOR.standard_normal(shape).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(bias), "c"))
    expected = outputs(model, x=np.ones((2, 4), dtype=np.float32))
    flatten_biases(model)
    held = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    assert held[model.graph.node[0].input[2]] == (3,)
    np.testing.assert_array_equal(outputs(model, x=np.ones((2, 4), dtype=np.float32)), expected)


def test_only_the_chosen_row_is_computed_where_rows_are_independent():
    model = bare(block(chosen=True))
    after = onnx.ModelProto()
    after.CopyFrom(model)
    flatten_attention(after)
    assert select_rows(after) == 12  # query projection, attention and all after it
    after = infer_types(after)
    assert_same(model, after)
    shapes = {
        value.name: [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim] for value in after.graph.value_info
    }
    assert shapes["ge"] == ["batch", 32]
    assert shapes["k"] == ["batch", "sequence", 8]


def test_two_different_rows_are_left_alone():
    model = block(chosen=True)
    model.graph.node.insert(len(model.graph.node) - 1, onnx.helper.make_node("Gather", ["h", "one"], ["c1"], axis=1))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "one"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("c1", 1, ["batch", 8]))
    assert select_rows(bare(model)) == 0


def test_residuals_become_sums_only_before_normalisations():
    model = bare(block(chosen=False))
    after = onnx.ModelProto()
    after.CopyFrom(model)
    assert unfuse_residuals(after) == 2
    assert_same(model, after)
    assert ops(after)["Add"] == ops(model)["Add"] - 2


def test_smoothing_keeps_the_function_and_other_readers():
    model = bare(block(chosen=False))
    after = smooth(model, {"n": GENERATOR.uniform(0.1, 10, 8), "x": GENERATOR.uniform(0.1, 10, 8)})
    assert_same(model, after)
    assert ops(after)["Mul"] == 2
    assert sum("n" in node.input for node in after.graph.node) == 2  # the Mul and the residual
