"""Compute only the rows that are read: a classifier looks at one token, so the last layer need work on that one alone.

    Before: h [b, s, n] → MatMul → Add → Gelu → … → LayerNormalization → Gather (axis 1, token 0) → classifier
    After:  h → Gather (axis 1, token 0) → MatMul → Add → Gelu → … → LayerNormalization → classifier

    Before: q, k, v → Attention → … → Gather (axis 1, token 0)
    After:  q → Gather (axis 1, [0]) → Attention (k, v whole) → Squeeze → …

Nodes that treat each row alone commute with the choice of a row, and an attention gives one row for one query. The function is
the same; of a classifier with six layers about a seventh of the multiplications go.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, fresh_name, insert_before, new_node
from edgeopt.graph.matching import attribute, constant, int64, integers, is_captured, is_standard, known_axes, rank
from edgeopt.passes.rewrite import Rewrite
from edgeopt.passes.rowwise import follow_last_axis, is_row_wise

_MASK = 3
"""Position of the mask among the inputs of Attention; after it come the past keys and values."""


class ChosenRows(Rewrite):
    """Move the choice of one row of [batch, sequence, features] as far up as it goes; counts the nodes that it passes."""

    def rewrite(self, model: ir.Model) -> int:
        """Move every choice; a graph whose rows are all read stays as it is."""
        graph = model.graph
        moved = 0
        for row, gathers in list(_choices(graph)):
            chosen = _commuting(graph, gathers)
            if any(node.op_type in {"MatMul", "Attention"} for node in chosen):
                _move(graph, chosen, row)
                for gather in gathers:
                    row_itself = gather.inputs[0]
                    if row_itself is not None:
                        gather.outputs[0].replace_all_uses_with(row_itself, replace_graph_outputs=True)
                graph.remove(gathers, safe=True)
                moved += len(chosen)
        return moved


def _choices(graph: ir.Graph) -> Iterable[tuple[int, list[ir.Node]]]:
    """Yield the one constant row that is read of a tensor [b, s, n], and the Gathers that read it, for each such tensor."""
    for node in graph:
        for value in node.outputs:
            users = list(value.consumers())
            rows = {_row(user, value) for user in users}
            row = rows.pop() if len(rows) == 1 else None
            if row is not None and rank(value) == 3 and not value.is_graph_output() and not is_captured(value, graph):
                yield row, users


def _row(user: ir.Node, value: ir.Value) -> int | None:
    """Return the row that a Gather with a constant scalar index takes from `value`."""
    if user.op_type != "Gather" or user.domain or user.inputs[0] is not value or attribute(user, "axis", 0) not in {1, -2}:
        return None
    index = user.inputs[1]
    found = integers(index)
    return found[0] if index is not None and found and rank(index) == 0 and not user.outputs[0].is_graph_output() else None


def _commuting(graph: ir.Graph, gathers: list[ir.Node]) -> list[ir.Node]:
    """Return the nodes, in order, of whose output nothing but the chosen row is needed."""
    chosen = set(gathers)
    found: list[ir.Node] = []
    for node in reversed(list(graph)):
        if node in chosen or not _row_wise(node):
            continue
        value = node.outputs[0]
        uses = list(value.uses())
        if uses and not value.is_graph_output() and all(use.node in chosen and _needs_row(use.node, use.idx) for use in uses):
            chosen.add(node)
            found.append(node)
    return found[::-1]


def _needs_row(user: ir.Node, position: int) -> bool:
    """Return whether a chosen node needs one row of this input; keys, values and masks of an Attention are needed whole."""
    return user.op_type != "Attention" or position == 0


def _row_wise(node: ir.Node) -> bool:
    """Return whether one row of the output follows from the same row of the inputs, and constants."""
    value = node.outputs[0]
    if rank(value) != 3 or any(other.uses() or other.is_graph_output() for other in node.outputs[1:]):
        return False
    if is_standard(node, "Attention"):
        return _takes_one_query(node)
    leading = known_axes(value)
    return is_row_wise(node, lambda item: _has_rows(item, leading), axes=3)


def _has_rows(value: ir.Value | None, leading: tuple[int | str, ...] | None) -> bool:
    """Return whether `value` is computed and has the rows of a tensor with the axes `leading`."""
    axes = known_axes(value)
    return constant(value) is None and axes is not None and leading is not None and axes[:-1] == leading[:-1]


def _takes_one_query(node: ir.Node) -> bool:
    """Return whether an Attention on three axes can compute one query: not causal, no past, a mask of four axes or none."""
    if attribute(node, "is_causal", 0) or not attribute(node, "q_num_heads", 0) or any(node.inputs[_MASK + 1 :]):
        return False
    mask = node.inputs[_MASK] if len(node.inputs) > _MASK else None
    return mask is None or (rank(mask) == 4 and mask.shape is not None)


def _move(graph: ir.Graph, chosen: list[ir.Node], row: int) -> None:
    """Let the chosen nodes work on [b, n], with Gathers where whole tensors enter."""
    scalar = add_initializer(graph, f"row_{row}", np.array(row, dtype=np.int64))
    single = add_initializer(graph, f"rows_{row}", int64(row))
    axis = add_initializer(graph, "axis_1", int64(1))
    inside = {node.outputs[0] for node in chosen}
    entered: dict[ir.Value, ir.Value] = {}
    for node in chosen:
        if node.op_type == "Attention":
            _ask_one(graph, node, inside, single, axis)
            continue
        for position, value in enumerate(node.inputs):
            if value is None or value in inside or rank(value) != 3 or constant(value) is not None:
                continue
            if value not in entered:
                gather = new_node(node, "Gather", [value, scalar], axis=1)
                entered[value] = _insert(graph, node, gather, f"{value.name}_row", _without_rows(value))
            node.replace_input_with(position, entered[value])
        node.outputs[0].shape = _without_rows(node.outputs[0])
        follow_last_axis(node)


def _ask_one(graph: ir.Graph, node: ir.Node, inside: set[ir.Value], single: ir.Value, axis: ir.Value) -> None:
    """Give Attention one query [b, 1, n], and take the axis of size 1 from its result again."""
    query, result = node.inputs[0], node.outputs[0]
    if query is None or result.shape is None or query.shape is None:
        return
    one = ir.Shape([query.shape[0], 1, query.shape[-1]])
    asked = new_node(node, "Unsqueeze", [query, axis]) if query in inside else new_node(node, "Gather", [query, single], axis=1)
    node.replace_input_with(0, _insert(graph, node, asked, f"{query.name}_one", one))
    mask = node.inputs[_MASK] if len(node.inputs) > _MASK else None
    if mask is not None and mask.shape is not None and mask.shape[2] != 1:
        sizes = ir.Shape([mask.shape[0], mask.shape[1], 1, mask.shape[3]])
        rows = new_node(node, "Gather", [mask, single], axis=2)
        node.replace_input_with(_MASK, _insert(graph, node, rows, f"{mask.name}_one", sizes))
    squeeze = new_node(node, "Squeeze", [result, axis])
    row = squeeze.outputs[0]
    row.shape = _without_rows(result)
    result.shape = ir.Shape([result.shape[0], 1, result.shape[2]])
    row.name, result.name = result.name, fresh_name(graph, f"{result.name}_one")
    squeeze.name = f"Squeeze:{row.name}"
    graph.insert_after(node, squeeze)
    for use in list(result.uses()):
        if use.node is not squeeze:
            use.node.replace_input_with(use.idx, row)
    inside.add(row)


def _insert(graph: ir.Graph, before: ir.Node, node: ir.Node, name: str, shape: ir.Shape | None) -> ir.Value:
    """Insert a node that has the type of what it reads; return its output."""
    source = node.inputs[0]
    node.outputs[0].type = source.type if source is not None else None
    return insert_before(graph, before, node, name, shape)


def _without_rows(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else ir.Shape([value.shape[0], value.shape[2]])
