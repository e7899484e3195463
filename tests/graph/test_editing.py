"""Edits of a graph, and names that no other value has."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.errors import InternalError
from edgeopt.graph import editing

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[2] x, bool c) => (float[2] y) <float x_scale = {1}> {
    x_scale_1 = Neg (x)
    y = If (c) <
        then_branch = one () => (float[2] a) { x_scale_2 = Abs (x) a = Neg (x_scale_2) },
        else_branch = two () => (float[2] b) { b = Add (x_scale_1, x_scale) }
    >
}
"""


@pytest.fixture
def model() -> ir.Model:
    return ir.from_onnx_text(NET)


def test_fresh_names_avoid_constants_results_and_subgraphs(model):
    assert editing.fresh_name(model.graph, "x_scale") == "x_scale_3"
    assert editing.fresh_name(model.graph, "x_scale") == "x_scale_4"
    assert editing.fresh_name(model.graph, "new") == "new"
    value = editing.add_initializer(model.graph, "new", np.float32(2))
    assert value.name == "new_1" and model.graph.initializers["new_1"] is value


def test_names_that_others_added_are_seen_after_forgetting(model):
    editing.fresh_name(model.graph, "a")
    model.graph.append(ir.node("Neg", [model.graph.inputs[0]], outputs=[ir.val("late")]))
    editing.forget_names(model.graph)
    assert editing.fresh_name(model.graph, "late") == "late_1"


def test_an_output_keeps_its_name_when_another_value_takes_over():
    model = ir.from_onnx_text('<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] y) { y = Neg (x) }')
    old = model.graph.outputs[0]
    node = editing.new_node(model.graph[0], "Abs", [model.graph.inputs[0]])
    model.graph.append(node)
    editing.take_over(old, node.outputs[0])
    assert model.graph.outputs == [node.outputs[0]]
    assert (node.outputs[0].name, old.name) == ("y", "y_before")


def test_constants_keep_their_type():
    model = ir.from_onnx_text(NET)
    editing.replace_constant(model.graph.initializers["x_scale"], np.array([1.5, 2.5]))
    value = model.graph.initializers["x_scale"]
    assert value.dtype == ir.DataType.FLOAT and value.shape == [2]
    with pytest.raises(InternalError, match="x is not a constant"):
        editing.replace_constant(model.graph.inputs[0], np.zeros(2))


def test_a_cycle_is_an_internal_error():
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] b) { a = Add (x, b) b = Neg (a) }'
    )
    with pytest.raises(InternalError, match="cycle"):
        editing.sort_nodes(model)


def test_nodes_out_of_order_are_sorted_and_unread_ones_removed():
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] c) <float w = {1}> '
        "{ c = Neg (b) b = Abs (a) a = Relu (x) d = Mul (a, w) }"
    )
    editing.sort_nodes(model)
    editing.remove_unused(model)
    assert [node.op_type for node in model.graph] == ["Relu", "Abs", "Neg"]
    assert not model.graph.initializers
