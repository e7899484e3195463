"""Logits only at the positions that are asked for: an input says which, the last one where it is left out.

A prompt of 128 tokens needs the logits of one; the head is a fifth of a small model's products. What lies before the head and
looks at each position alone (the last layer's MLP) is computed for the asked positions, too:

    Before: h [b, s, n] → MatMul → … → RMSNormalization → MatMul (head) → logits [b, s, v]
    After:  h → Gather (axis 1, logits_positions) → MatMul → … → RMSNormalization → MatMul (head) → logits [b, a, v]

`logits_positions` [a] is an initializer that is also an input, [-1] by default: a runtime that does not know it (onnxruntime's
genai) gets the last position's logits. Negative positions count from the end. The output is declared as it is by default,
[b, 1, v]: onnxruntime-genai reads from there that it must not reserve logits for the whole prompt. A file cannot say that the
axis follows a default, so onnxruntime notes a warning, and no more, where other positions are asked for.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.editing import fresh_name, new_node
from edgeopt.graph.generation import ASKED
from edgeopt.graph.matching import constant, int64, known_axes, name_of, rank
from edgeopt.passes.rewrite import Rewrite
from edgeopt.passes.rowwise import follow_last_axis, is_row_wise

_AXIS = "asked_positions"


class AskedRows(Rewrite):
    """Let an input choose the rows of `output`; counts the nodes that work on those alone."""

    def __init__(self, output: str = "logits") -> None:
        """Take the name of the output whose rows are chosen."""
        super().__init__()
        self._output = output

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite a graph whose output [batch, sequence, n] is computed row by row from something; another stays."""
        graph = model.graph
        result = next((value for value in graph.outputs if value.name == self._output), None)
        if result is None or rank(result) != 3 or any(value.name == ASKED for value in graph.inputs):
            return 0
        chosen = _row_by_row(graph, result)
        if not any(node.op_type in {"MatMul", "Gemm"} for node in chosen):
            return 0
        asked = ir.Value(
            name=ASKED,
            shape=ir.Shape([_AXIS]),
            type=ir.TensorType(ir.DataType.INT64),
            const_value=ir.tensor(int64(-1), name=ASKED),
        )
        graph.inputs.append(asked)
        graph.register_initializer(asked)
        _choose(graph, chosen, asked)
        result.shape = _shape_by_default(result)
        return len(chosen)


def _row_by_row(graph: ir.Graph, result: ir.Value) -> list[ir.Node]:
    """Return the nodes, in order, of whose output nothing is read but by `result`, row by row."""
    leading = known_axes(result)
    chosen: set[ir.Node] = set()
    for node in reversed(list(graph)):
        outputs = [value for value in node.outputs if value.uses() or value.is_graph_output()]
        if not outputs or not all(_is_needed(value, chosen, result) for value in outputs):
            continue
        if is_row_wise(node, lambda value: _has_rows(value, leading), axes=3):
            chosen.add(node)
    return [node for node in graph if node in chosen]


def _is_needed(value: ir.Value, chosen: set[ir.Node], result: ir.Value) -> bool:
    if value.is_graph_output():
        return value is result and all(node in chosen for node in value.consumers())
    return rank(value) == 3 and all(node in chosen for node in value.consumers())


def _has_rows(value: ir.Value | None, leading: tuple[int | str, ...] | None) -> bool:
    axes = known_axes(value)
    return constant(value) is None and axes is not None and leading is not None and axes[:-1] == leading[:-1]


def _choose(graph: ir.Graph, chosen: list[ir.Node], asked: ir.Value) -> None:
    """Insert a Gather where whole tensors enter, and note the new shapes."""
    inside = {value for node in chosen for value in node.outputs}
    entered: dict[ir.Value, ir.Value] = {}
    for node in chosen:
        for position, value in enumerate(node.inputs):
            if value is None or value in inside or constant(value) is not None or rank(value) != 3:
                continue
            if value not in entered:
                gather = new_node(node, "Gather", [value, asked], axis=1)
                gather.outputs[0].name = fresh_name(graph, f"{name_of(value)}_asked")
                gather.name = f"Gather:{gather.outputs[0].name}"
                gather.outputs[0].type, gather.outputs[0].shape = value.type, _asked_shape(value)
                graph.insert_before(node, gather)
                entered[value] = gather.outputs[0]
            node.replace_input_with(position, entered[value])
        for output in node.outputs:
            output.shape = _asked_shape(output)
        follow_last_axis(node)


def _shape_by_default(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else ir.Shape([value.shape[0], 1, value.shape[2]])


def _asked_shape(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else ir.Shape([value.shape[0], _AXIS, value.shape[2]])
