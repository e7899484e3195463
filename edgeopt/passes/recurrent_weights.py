"""Weights of recurrent layers as constants in ONNX's order of gates.

    Before: LSTM(x, Unsqueeze(Concat(Split(weight)…)), …)        After: LSTM(x, W, …)

torch's exporter folds small constants only, and not Split; onnxruntime would do it each time the file is loaded, and a
quantizer would find no weights. They are computed when they are written (`LazyTensor`), so nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array
from edgeopt.graph.editing import add_initializer
from edgeopt.graph.matching import attribute, constant, integers
from edgeopt.passes.rewrite import Rewrite

_RECURRENT = {"LSTM", "GRU", "RNN"}
_NAMES = {1: "W", 2: "R", 3: "B"}


class RecurrentWeights(Rewrite):
    """Fold what recurrent layers do to their weights; counts the weights."""

    def rewrite(self, model: ir.Model) -> int:
        """Replace the second, third and fourth input of every recurrent layer by a constant, where it is made of constants."""
        count = 0
        for node in list(model.graph.all_nodes()):
            if node.op_type in _RECURRENT and not node.domain:
                for position in _NAMES:
                    count += _fold(model.graph, node, position)
        return count


def _fold(graph: ir.Graph, node: ir.Node, position: int) -> bool:
    value = node.inputs[position] if position < len(node.inputs) else None
    if value is None or constant(value) is not None:
        return False
    recipe, source = _recipe(value), _source(value)
    if recipe is None or source is None or source.dtype is None:
        return False
    dtype = source.dtype
    tensor = ir.LazyTensor(lambda: ir.tensor(recipe(), dtype=dtype), dtype=dtype, shape=ir.Shape(recipe().shape))
    module = (source.name or "").rpartition(".")[0]
    node.replace_input_with(position, add_initializer(graph, f"{module}.{_NAMES[position]}".lstrip("."), tensor))
    return True


def _recipe(value: ir.Value | None) -> Callable[[], Array] | None:
    """Return a function that computes `value`, None if it is not made of constants by Split, Concat and Unsqueeze alone."""
    tensor = constant(value)
    if tensor is not None:
        return tensor.numpy
    node = value.producer() if value is not None else None
    if value is None or node is None or node.domain:
        return None
    parts = [_recipe(part) for part in (node.inputs if node.op_type == "Concat" else node.inputs[:1])]
    if any(part is None for part in parts):
        return None
    made = [part for part in parts if part is not None]
    axis = attribute(node, "axis", 0)
    match node.op_type:
        case "Concat":
            return lambda: np.concatenate([part() for part in made], axis=axis)
        case "Split" if len(node.inputs) == 1:
            index, pieces = list(node.outputs).index(value), len(node.outputs)
            return lambda: np.split(made[0](), pieces, axis=axis)[index]
        case "Unsqueeze":
            axes = integers(node.inputs[1])
            return None if axes is None else lambda: np.expand_dims(made[0](), tuple(axes))
        case _:
            return None


def _source(value: ir.Value | None) -> ir.Value | None:
    """Return the first constant that `value` is made of."""
    while value is not None and constant(value) is None:
        node = value.producer()
        value = node.inputs[0] if node is not None and node.inputs else None
    return value
