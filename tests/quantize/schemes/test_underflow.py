"""Which nodes must not read small numbers rounded, and what running a converted model shows."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.graph.matching import by_name
from edgeopt.quantize.schemes.underflow import SMALLEST, endangered, first_lost, is_small

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
FLOATS = {"x", "a", "b", "r", "y", "c"}


def graph_of(body, constant):
    model = onnx.parser.parse_model(f"{HEAD}g (float[n,4] x) => (float[n,4] y) {{ {body} }}")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(constant, np.float32), "c"))
    for node in model.graph.node:
        node.name = node.output[0]
    return ir.from_proto(model)


def test_zero_is_not_small_and_an_ordinary_number_is_not():
    assert not is_small(np.array([0.0, 1.0, -SMALLEST * 2], np.float32))
    assert is_small(np.array([1.0, -SMALLEST / 2], np.float32))
    assert not is_small(np.zeros((0, 3), np.float32))


@pytest.mark.parametrize(
    ("body", "constant", "small", "kept"),
    [
        ("a = Relu(x)  b = Add(a, c)  y = Log(b)", 1e-8, set(), {"y": "b", "b": "b"}),
        ("a = Relu(x)  b = Add(a, c)  y = Log(b)", 1e-3, set(), {}),
        ("a = Relu(x)  b = Add(a, c)  y = Exp(b)", 1e-8, set(), {}),
        ("a = Relu(x)  b = Max(a, c)  r = Sqrt(b)  y = Div(x, r)", 1e-8, set(), {"y": "r", "r": "b", "b": "b"}),
        ("a = Relu(x)  b = Mul(a, c)  y = Div(b, a)", 1.0, {"b"}, {}),
        ("a = Relu(x)  b = Mul(a, c)  y = Div(a, b)", 1.0, {"b"}, {"y": "b", "b": "b"}),
        ("a = Relu(x)  b = Mul(a, c)  y = Div(a, b)", 1.0, {"b", "a"}, {"y": "b", "b": "b", "a": "a"}),
        ("a = Abs(x)  b = Pow(x, c)  y = Add(a, b)", 2.0, {"x"}, {}),
        ("a = Abs(x)  b = Pow(a, c)  y = Add(a, b)", -1.0, {"a"}, {"b": "a", "a": "a"}),
    ],
)
def test_what_is_sensitive_stays_with_what_makes_the_small_numbers(body, constant, small, kept):
    graph = graph_of(body, constant).graph
    floats = {value for name, value in by_name(graph).items() if name in FLOATS}
    assert endangered(graph, small, floats) == kept


def test_the_first_node_that_loses_finite_numbers_is_named():
    model, lossy = (graph_of("a = Add(x, c)  b = Log(a)  y = Neg(b)", constant) for constant in (1.0, 0.0))
    batches = [{"x": np.array([[0, 1, 2, 3]], np.float32)}]
    assert first_lost(model, model, batches, threads=1) is None
    assert first_lost(model, lossy, batches, threads=1) == "b"


def test_outputs_that_nothing_reads_may_be_missing_in_the_converted_model():
    scale = [60000.0, 1.0, 1.0, 1.0]
    whole, short, overflowing = (
        graph_of(body, scale)
        for body in (
            "a, b = LayerNormalization (x, c)  y = Mul (a, c)",
            "a = LayerNormalization (x, c)  y = Mul (a, c)",
            "a = LayerNormalization (x, c)  r = Exp (c)  y = Mul (a, r)",
        )
    )
    batches = [{"x": np.array([[4, 1, -2, 0]], np.float32)}]
    assert first_lost(whole, short, batches, threads=1) is None
    assert first_lost(whole, overflowing, batches, threads=1) == "y"
