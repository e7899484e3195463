"""LSTM with weights as int8, its inputs and states rounded at run time.

Before: x → LSTM (W [directions, 4·hidden, input], R [directions, 4·hidden, hidden]) → y
After:  x → DynamicQuantizeLSTM (W, R as int8 [directions, input or hidden, 4·hidden], a scale for each of their rows) → y

The contrib operator: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.DynamicQuantizeLSTM
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, remove_unused
from edgeopt.graph.matching import array, attribute, is_float, is_standard, name_of
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.plan.cause import Cause

_WEIGHTS = (1, 2)
_INPUTS = 8  # of LSTM: X, W, R, B, sequence_lens, initial_h, initial_c, P
_RANK = 3


def objection(node: ir.Node) -> Cause | None:
    """Return why an LSTM cannot have int8 weights; None if it can."""
    weights = [array(node.inputs[place]) for place in _WEIGHTS]
    if any(weight is None for weight in weights):
        return Cause.TWO_ACTIVATIONS
    fits = is_float(node.inputs[1]) and all(weight is not None and weight.ndim == _RANK for weight in weights)
    return None if fits and not attribute(node, "layout", 0) else Cause.NO_MATRIX


def quantize_lstms(model: ir.Model, names: set[str]) -> None:
    """Replace the LSTM nodes called `names` by their dynamically quantized form, in place."""
    nodes = [node for node in model.graph if is_standard(node, "LSTM") and name_of(node) in names]
    for node in nodes:
        inputs = [*node.inputs, *[None] * (_INPUTS - len(node.inputs))]
        parameters: list[ir.Value] = []
        for place in _WEIGHTS:
            integers, *grid = _rounded(model.graph, node, place)
            inputs[place] = integers
            parameters += grid
        kept = [item for item in node.attributes.values() if item.name != "layout"]
        made = ir.Node(
            "com.microsoft",
            "DynamicQuantizeLSTM",
            [*inputs, *parameters],
            kept,
            num_outputs=len(node.outputs),
            name=node.name,
        )
        for old, new in zip(node.outputs, made.outputs, strict=True):
            new.name, new.type, new.shape = old.name, old.type, old.shape
            old.replace_all_uses_with(new, replace_graph_outputs=True)
        model.graph.insert_before(node, made)
        model.graph.remove(node, safe=True)
    if nodes:
        model.graph.opset_imports.setdefault("com.microsoft", 1)
        remove_unused(model)


def _rounded(graph: ir.Graph, node: ir.Node, place: int) -> Iterator[ir.Value]:
    """Yield a weight's integers, scales and zero points as new constants."""
    value, values = node.inputs[place], array(node.inputs[place])
    if value is None or values is None:
        return
    directions, rows, _ = values.shape
    affine = Affine.of_values(values.reshape(directions * rows, -1), "int8", axis=0, symmetric=True, reduced=False)
    integers = affine.quantize(values.reshape(directions * rows, -1)).reshape(values.shape)
    yield add_initializer(graph, f"{value.name}_quantized", np.ascontiguousarray(integers.transpose(0, 2, 1)))
    yield add_initializer(graph, f"{value.name}_scale", affine.scale.reshape(directions, rows))
    yield add_initializer(graph, f"{value.name}_zero_point", affine.zero.reshape(directions, rows))
