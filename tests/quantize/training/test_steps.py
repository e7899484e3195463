from __future__ import annotations

import onnx
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.graph import files
from edgeopt.graph.matching import name_of
from edgeopt.quantize.training.operators import operator_of, tensor_of
from edgeopt.quantize.training.steps import advance, steps_of


def _graph(body):
    text = f'<ir_version: 10, opset_import: ["" : 21]> net (float[4] x) => (float[4] y) <float[1] two = {{2}}> {{ {body} }}'
    return files.from_proto(onnx.parser.parse_model(text)).graph


def test_values_are_dropped_behind_their_last_reader_and_where_nothing_reads_them():
    graph = _graph("a = Mul (x, two) b, c = Split <num_outputs = 2> (a) y = Concat <axis = 0> (b, b)")
    steps = steps_of(graph, graph.outputs, operator_of)
    assert [[name_of(value) for value in step.done] for step in steps] == [["x"], ["a", "c"], ["b"]]
    alive = advance({graph.inputs[0]: torch.arange(4.0)}, steps, tensor_of)
    assert {name_of(value): tensor.tolist() for value, tensor in alive.items()} == {"y": [0.0, 2.0, 0.0, 2.0]}


def test_values_that_are_alive_take_the_place_of_constants():
    graph = _graph("y = Mul (x, two)")
    steps = steps_of(graph, graph.outputs, operator_of)
    ten = {graph.initializers["two"]: torch.tensor([10.0])}
    made = advance({graph.inputs[0]: torch.ones(4), **ten}, steps, tensor_of)
    assert made[graph.outputs[0]].tolist() == [10.0] * 4


def test_what_pytorch_has_no_form_of_is_said_with_its_node():
    graph = _graph("y = Cast <to = 17> (x)")
    graph[0].name = "narrow"
    with pytest.raises(ModelError, match="narrow: cannot be trained through: a Cast to type 17"):
        advance({graph.inputs[0]: torch.ones(4)}, steps_of(graph, graph.outputs, operator_of), tensor_of)
