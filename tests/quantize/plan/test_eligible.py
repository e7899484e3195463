"""Which products could run on integers, by the form of their operands."""

import numpy as np
import onnx
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.eligible import is_floating, weight_objection

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 4] x, float[4, 4] v) => (float[n, 4] y) '
SHAPES = {"w": (4, 4), "w3": (2, 4, 4), "b": (4,), "m": (4, 4), "one": (1, 4), "rows": (2, 1), "none": (4, 0)}


def last_node(body: str, **values: float):
    model = onnx.parser.parse_model(HEAD + "{ " + body + " }")
    for name, shape in SHAPES.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, values.get(name, 1), np.float32), name))
    return list(as_ir(onnx.shape_inference.infer_shapes(model)).graph)[-1]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("y = MatMul (x, w)", None),
        ("y = Gemm (x, w, b)", None),
        ("y = Gemm (x, w, one)", None),
        ("y = MatMul (x, v)", Cause.TWO_ACTIVATIONS),
        ("y = MatMul (w, w)", Cause.NO_ACTIVATION),
        ("y = MatMul (x, w3)", Cause.WEIGHT_AXES),
        ("y = Gemm <alpha = 2.0> (x, w)", Cause.GEMM_FORM),
        ("y = Gemm <transA = 1> (v, w)", Cause.GEMM_FORM),
        ("y = Gemm (v, w, m)", Cause.BIAS_FORM),
        ("y = Gemm (v, w, v)", Cause.BIAS_FORM),
        ("y = Gemm (x, w, rows)", Cause.BIAS_FORM),
        ("y = MatMul (x, none)", Cause.SMALL),
    ],
)
def test_the_form_decides(body, cause):
    why = weight_objection(last_node(body))
    assert (why.cause if why is not None else None) == cause


def test_a_bias_that_means_infinity_is_named():
    why = weight_objection(last_node("y = Gemm (x, w, b)", b=-np.inf))
    assert (why.cause, why.detail) == (Cause.INFINITE, "b")


def test_nodes_with_floating_point_outputs_are_floating():
    assert is_floating(last_node("y = Relu (x)"))
    assert not is_floating(last_node("s = Shape (x)"))
