"""What passes and planners ask of a graph."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.graph import matching

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, s, 4] x, bool c) => (float[n, s, 2] y, float[n, s, 2] z)
<float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, int64[2] pair = {0, 3}> {
    m = MatMul (x, w)
    y = Relu (m)
    t = Neg (m)
    z = If (c) <
        then_branch = one () => (float[n, s, 2] a) { a = Abs (t) },
        else_branch = two () => (float[n, s, 2] b) { b = Sqrt (t) }
    >
}
"""


@pytest.fixture
def model() -> ir.Model:
    return ir.from_onnx_text(NET)


def test_values_by_name_and_what_is_constant(model):
    values = matching.by_name(model.graph)
    assert {"x", "c", "w", "pair", "m", "y", "t", "z"} == values.keys()
    np.testing.assert_array_equal(matching.array(values["w"]), np.arange(1, 9).reshape(4, 2))
    assert matching.integers(values["pair"]) == [0, 3]
    assert matching.array(values["m"]) is None and matching.array(None) is None


def test_floats_are_known_by_type(model):
    values = matching.by_name(model.graph)
    assert matching.is_float(values["x"]) and matching.is_float(values["w"])
    assert not matching.is_float(values["pair"]) and not matching.is_float(values["c"]) and not matching.is_float(None)
    assert matching.activations(values["m"].producer()) == [values["x"]]


def test_the_sole_consumer_is_one_node_of_the_graph_itself(model):
    values = matching.by_name(model.graph)
    assert matching.sole_consumer(values["x"], "MatMul") is values["m"].producer()
    assert matching.sole_consumer(values["x"], "Gemm") is None
    assert matching.sole_consumer(values["m"]) is None  # two
    assert matching.sole_consumer(values["y"]) is None  # an output
    assert matching.sole_consumer(values["t"]) is None  # a subgraph's


def test_subgraphs_capture_what_they_read(model):
    values = matching.by_name(model.graph)
    assert matching.is_captured(values["t"], model.graph)
    assert not matching.is_captured(values["m"], model.graph)
    assert matching.own_consumers(values["t"], model.graph) == []
    assert [node.op_type for node in matching.own_consumers(values["m"], model.graph)] == ["Relu", "Neg"]


def test_axes_are_known_by_size_or_name(model):
    values = matching.by_name(model.graph)
    assert matching.known_axes(values["x"]) == ("n", "s", 4)
    assert matching.known_axes(values["m"]) is None
    values["m"].shape = ir.Shape(["n", None, 2])
    assert matching.known_axes(values["m"]) is None
    assert matching.static_shape(values["w"]) == (4, 2) and matching.static_shape(values["x"]) is None
    assert matching.rank(values["x"]) == 3 and matching.rank(None) is None


def test_only_eight_bit_zero_points_make_bytes():
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 21]> g (uint8[4] a, uint16[4] b) => (float[4] x, float[4] y)
        <float s = {0.1}, uint8 p = {0}, uint16 q = {0}> {
            x = DequantizeLinear (a, s, p)
            y = DequantizeLinear (b, s, q)
        }"""
    )
    x, y = model.graph.outputs
    assert matching.dequantized_bytes(x) is x.producer()
    assert matching.dequantized_bytes(y) is None


@pytest.mark.parametrize(
    ("shape", "attributes", "depthwise", "pointwise"),
    [
        ((4, 1, 3, 3), "<group = 4>", True, False),
        ((4, 4, 1, 1), "", False, True),
        ((4, 4, 1, 1), "<strides = [2, 2]>", False, False),
        ((4, 1, 1, 1), "<group = 4>", True, False),
        ((4, 4, 3, 3), "", False, False),
    ],
)
def test_kinds_of_convolutions(shape, attributes, depthwise, pointwise):
    model = ir.from_onnx_text(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[1, 4, 8, 8] x) => (float y) {{ y = Conv {attributes} (x, w) }}'
    )
    weight = ir.Value(name="w", const_value=ir.tensor(np.ones(shape, dtype=np.float32), name="w"))
    model.graph.register_initializer(weight)
    node = model.graph[0]
    node.replace_input_with(1, weight)
    assert (matching.is_depthwise(node), matching.is_pointwise(node)) == (depthwise, pointwise)
