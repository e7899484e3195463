"""Names in the graph: ends as asked, nodes and weights after the source's modules, nothing of the machine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from edgeopt.export.naming import name_ends, separate_outputs, tidy_names

SCOPES = "pkg.torch.onnx.name_scopes"


def model(text: str) -> ir.Model:
    return ir.from_proto(parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {text}'))


def names(values: object) -> list[str]:
    return [value.name for value in values]  # type: ignore[attr-defined]


def test_ends_have_the_names_that_were_asked_for_and_no_other_value_has() -> None:
    made = model("(float[2] x) => (float[2] y) { logits = Relu(x) image = Neg(logits) y = Abs(image) }")
    name_ends(made, ["image"], ["logits"])
    assert (names(made.graph.inputs), names(made.graph.outputs)) == (["image"], ["logits"])
    assert [node.outputs[0].name for node in made.graph] == ["logits_", "image_", "logits"]


def test_no_two_values_get_one_name() -> None:
    made = model("(float[2] x) => (float[2] y) { logits = Relu(x) logits_ = Neg(logits) y = Abs(logits_) }")
    name_ends(made, ["x"], ["logits"])
    assert [node.outputs[0].name for node in made.graph] == ["logits_", "logits__", "logits"]


def test_ends_may_swap_their_names() -> None:
    made = model("(float[2] a, float[2] b) => (float[2] y) { y = Sub(a, b) }")
    name_ends(made, ["b", "y"], ["a"])
    (node,) = made.graph
    assert (names(node.inputs), names(node.outputs)) == (["b", "y"], ["a"])


def test_an_output_that_is_something_else_becomes_a_tensor_of_its_own() -> None:
    made = model("(float[2] x) => (float[2] y, float[2] x, float[2] w) <float[2] w = {1, 2}> { y = Relu(x) }")
    made.graph.outputs.append(made.graph.outputs[0])
    separate_outputs(made)
    relu, *copies = made.graph
    assert [node.op_type for node in copies] == ["Identity"] * 3
    assert [node.inputs[0].name for node in copies] == ["x", "w", "y"]
    assert list(made.graph.outputs) == [relu.outputs[0], *(node.outputs[0] for node in copies)]
    assert len(set(names(made.graph.outputs))) == 4
    assert [str(value.shape) for value in made.graph.outputs] == ["[2]"] * 4
    name_ends(made, ["x"], ["a", "b", "c", "d"])
    assert names(made.graph.outputs) == ["a", "b", "c", "d"] and len(list(made.graph)) == 4


def test_outputs_of_their_own_stay_as_they_are() -> None:
    made = model("(float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(y) }")
    separate_outputs(made)
    assert [node.op_type for node in made.graph] == ["Relu", "Neg"]


def scoped(made: ir.Model, scopes: Mapping[int, str]) -> ir.Model:
    """Put torch's scopes on the nodes at these places."""
    for place, node in enumerate(made.graph):
        if place in scopes:
            node.metadata_props[SCOPES] = scopes[place]
    return made


def test_nodes_are_named_after_their_modules_and_numbered_where_several_are_alike() -> None:
    text = "(float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) c = Relu(b) d = Relu(c) e = Relu(d) y = Relu(e) }"
    scopes = {
        0: "['', 'module', 'module.bert', 'module.bert.layer.0', 'relu_7']",
        1: "['', 'module', 'module.bert', 'module.bert.layer.0', 'relu_8']",
        2: "['', 'module', 'relu_9']",
        3: "['', '_empty_nn_module_stack_from_metadata_hook', 'relu_10']",
        4: "not a list (",
    }
    made = scoped(model(text), scopes)
    tidy_names(made)
    assert names(made.graph) == ["bert.layer.0/Relu", "bert.layer.0/Relu_1", "Relu", "Relu_1", "Relu_2", "Relu_3"]


def test_a_convolution_is_named_after_its_weight_because_norms_are_folded_into_it() -> None:
    text = (
        "(float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) <float[1, 1, 1, 1] w = {2}, float[1, 1, 1, 1] v = {3}> "
        "{ a = Conv(x, w) y = Conv(a, v) }"
    )
    made = scoped(model(text), dict.fromkeys((0, 1), "['', 'module', 'module.norm', 'conv2d']"))
    made.graph.initializers["w"].name = "module.stem.conv.weight"
    tidy_names(made)
    assert names(made.graph) == ["stem.conv/Conv", "norm/Conv"]


def weight(made: ir.Model, name: str, *shape: int, dtype: type = np.float32) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(np.zeros(shape, dtype), name=name))
    made.graph.register_initializer(value)
    return value


def test_weights_lose_the_wrappers_prefix_or_get_their_modules_name() -> None:
    made = model("(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
    scope = "['', 'module', 'module.head', 'linear']"
    kept = {
        "module.head.bias": ir.node("Add", [made.graph.inputs[0], weight(made, "module.head.bias", 3)]),
        "val_1": ir.node("MatMul", [made.graph.inputs[0], weight(made, "val_1", 3, 3)]),
        "val_2": ir.node("Add", [made.graph.inputs[0], weight(made, "val_2", 3)]),
        "val_3": ir.node("Mul", [made.graph.inputs[0], weight(made, "val_3", 1, 1, 3)]),
        "val_4": ir.node("Reshape", [made.graph.inputs[0], weight(made, "val_4", 2, dtype=np.int64)]),
        "val_5": ir.node("Mul", [made.graph.inputs[0], weight(made, "val_5")]),
    }
    for node in kept.values():
        node.metadata_props[SCOPES] = scope
        made.graph.append(node)
    unscoped = ir.node("Mul", [made.graph.inputs[0], weight(made, "val_6", 3)])
    made.graph.append(unscoped)
    tidy_names(made)
    found = {old: node.inputs[1].name for old, node in kept.items()}
    assert found == {
        "module.head.bias": "head.bias",
        "val_1": "head.weight_t",
        "val_2": "head.bias_",
        "val_3": "head.weight",
        "val_4": "val_4",
        "val_5": "val_5",
    }
    assert unscoped.inputs[1].name == "val_6"
    assert set(found.values()) | {"val_6"} == set(made.graph.initializers)


def test_weights_of_a_recurrent_layer_have_the_letters_of_the_standard() -> None:
    made = model("(float[5, 2, 3] x) => (float[5, 1, 2, 4] y) { y = Identity(x) }")
    weights = [weight(made, "val_1", 1, 16, 3), weight(made, "val_2", 1, 16, 4), weight(made, "val_3", 1, 32)]
    state = weight(made, "val_4", 1, 2, 4)
    node = ir.node("LSTM", [made.graph.inputs[0], *weights, None, state], num_outputs=3)
    node.metadata_props[SCOPES] = "['', 'module', 'module.rnn', 'lstm']"
    made.graph.append(node)
    tidy_names(made)
    assert [value.name for value in weights] == ["rnn.W", "rnn.R", "rnn.B"]
    assert state.name == "rnn.weight"


def test_nothing_of_torchs_notes_stays() -> None:
    made = model("(float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    (node,) = made.graph
    holders = [made, made.graph, node, node.outputs[0], made.graph.inputs[0], made.graph.initializers["w"]]
    for holder in holders:
        holder.metadata_props["stack_trace"] = 'File "/home/user/model.py"'
    made.doc_string = made.graph.doc_string = node.doc_string = "made by torch"
    tidy_names(made)
    assert not any(holder.metadata_props for holder in holders)
    assert (made.doc_string, made.graph.doc_string, node.doc_string) == (None, None, None)
    assert made.graph.name == "main"


@pytest.mark.parametrize("taken", ["head.weight_t", "head.weight_t_"])
def test_a_name_that_is_taken_gets_a_mark(taken: str) -> None:
    made = model("(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
    weight(made, taken, 1)
    if taken.endswith("_"):
        weight(made, "head.weight_t", 1)
    node = ir.node("MatMul", [made.graph.inputs[0], weight(made, "val_1", 3, 3)])
    node.metadata_props[SCOPES] = "['', 'module', 'module.head', 'linear']"
    made.graph.append(node)
    tidy_names(made)
    assert node.inputs[1].name == f"{taken}_"
