"""Work only on the rows that are looked at: a classifier reads one token, so the last layer need compute but that one.

Before: h [b, s, n] → MatMul → Add → Gelu → … → LayerNormalization → Gather (axis 1, token 0) → classifier
After:  h → Gather (axis 1, token 0) → MatMul → Add → Gelu → … → LayerNormalization → classifier

Before: q, k, v → Attention → Gather (axis 1, token 0)        After: q → Gather (token 0) → Attention (k, v) → [b, n]

Nodes that treat each row alone commute with the choice of a row. The function is the same; for a sequence classifier of six
layers a seventh of the multiplications go.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants
from edgeopt.graph.shapes import KnownShapes

_UNARY = {"Gelu", "Relu", "Sigmoid", "Tanh", "Erf", "LeakyRelu", "HardSwish", "Softplus"}
_BINARY = {"Add", "Mul", "Sub", "Div", "Sum"}


@dataclass(frozen=True)
class Choice:
    """The row that is read, and the Gathers that read it."""

    row: int
    gathers: tuple[onnx.NodeProto, ...]


def select_rows(model: onnx.ModelProto) -> int:
    """Move every choice of one row as far up as it goes; return how many nodes work on that row alone now.

    Type information of inner tensors is dropped if anything moved, since ranks change; infer it again.
    """
    graph = model.graph
    moved = 0
    for choice in _choices(graph):
        index = GraphIndex(graph)
        known = KnownShapes(graph)
        chosen = _commuting(choice, index, known)
        if chosen:
            _move(graph, choice, chosen, known)
            moved += len(chosen)
    if moved:
        del graph.value_info[:]
        remove_unused_constants(graph)
    return moved


def _choices(graph: onnx.GraphProto) -> list[Choice]:
    """Find the tensors [b, s, n] of which nothing but one constant row is read."""
    index = GraphIndex(graph)
    known = KnownShapes(graph)
    choices = []
    for name, readers in index.consumers.items():
        shape = known.of(name)
        rows = {_row(reader, name, index) for reader in readers}
        if shape is None or len(shape) != 3 or len(rows) != 1 or name in index.outputs | index.captured:
            continue
        row = rows.pop()
        if row is not None:
            choices.append(Choice(row, tuple(readers)))
    return choices


def _row(node: onnx.NodeProto, name: str, index: GraphIndex) -> int | None:
    """Return the row that a Gather with a constant scalar index takes from `name`."""
    if node.op_type != "Gather" or node.input[0] != name or attribute(node, "axis", 0) != 1:
        return None
    value = index.constant(node.input[1])
    return int(value) if value is not None and value.ndim == 0 else None


def _commuting(choice: Choice, index: GraphIndex, known: KnownShapes) -> list[onnx.NodeProto]:
    """Return the nodes, in order, of whose output nothing but the chosen row is needed."""
    gathers = {node.name for node in choice.gathers}
    chosen: dict[str, onnx.NodeProto] = {}
    for node in reversed(list(index.graph.node)):
        name = node.output[0]
        readers = index.consumers[name]
        if not readers or len(node.output) != 1 or name in index.outputs | index.captured:
            continue
        if all(_reads_row(reader, name, chosen.keys() | gathers) for reader in readers) and _rowwise(node, index, known):
            chosen[node.name] = node
    return list(reversed(chosen.values()))


def _reads_row(reader: onnx.NodeProto, name: str, chosen: Set[str]) -> bool:
    """Tell whether a reader needs no more than the row; keys and values of an Attention are needed whole."""
    return reader.name in chosen and not (reader.op_type == "Attention" and name in reader.input[1:])


def _rowwise(node: onnx.NodeProto, index: GraphIndex, known: KnownShapes) -> bool:
    shape = known.of(node.output[0])
    if node.domain not in {"", "ai.onnx"} or shape is None or len(shape) != 3:
        return False
    if node.op_type in _UNARY:
        return True
    if node.op_type in _BINARY:
        return all(_shared(name, index) or known.of(name) == shape for name in node.input)
    if node.op_type == "LayerNormalization":
        return attribute(node, "axis", -1) in {-1, 2} and all(_shared(name, index) for name in node.input[1:])
    if node.op_type == "MatMul":
        weight = index.initializers.get(node.input[1])
        return weight is not None and len(weight.dims) == 2
    return node.op_type == "Attention" and _takes_one_query(node, known)


def _shared(name: str, index: GraphIndex) -> bool:
    """Tell whether an operand is a constant that is the same for all rows."""
    tensor = index.initializers.get(name)
    return tensor is not None and len(tensor.dims) <= 1


def _takes_one_query(node: onnx.NodeProto, known: KnownShapes) -> bool:
    """Tell whether an Attention with three axes can be asked for one query: no past, no causal mask, a mask of four axes."""
    if attribute(node, "is_causal", 0) or len(node.input) > 4 or attribute(node, "q_num_heads", 0) == 0:
        return False
    mask = known.of(node.input[3]) if len(node.input) == 4 and node.input[3] else (1, 1, 1, 1)
    return mask is not None and len(mask) == 4


def _move(graph: onnx.GraphProto, choice: Choice, chosen: list[onnx.NodeProto], known: KnownShapes) -> None:
    """Put Gathers before the chosen nodes and take out those behind them."""
    names = {node.name for node in chosen}
    inside = {node.output[0] for node in chosen}
    constants = {tensor.name for tensor in graph.initializer}
    gathers = {node.name for node in choice.gathers}
    scalar, single = _indices(graph, choice.row)
    done: set[str] = set()
    ordered: list[onnx.NodeProto] = []
    renamed = {node.output[0]: node.input[0] for node in choice.gathers}
    for node in graph.node:
        if node.name in gathers:
            continue
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
        if node.name not in names:
            ordered.append(node)
            continue
        if node.op_type == "Attention":
            ordered += _ask_one(node, inside, single, known)
            continue
        for position, name in enumerate(node.input):
            if name and name not in constants and name not in inside:
                if name not in done:
                    done.add(name)
                    ordered.append(helper.make_node("Gather", [name, scalar], [f"{name}_row"], f"Gather:{name}_row", axis=1))
                node.input[position] = f"{name}_row"
        _last_axis(node)
        ordered.append(node)
    del graph.node[:]
    graph.node.extend(ordered)


def _indices(graph: onnx.GraphProto, row: int) -> tuple[str, str]:
    scalar, single = f"row_{row}", f"rows_{row}"
    held = {tensor.name for tensor in graph.initializer}
    if scalar not in held:
        graph.initializer.append(numpy_helper.from_array(np.array(row, dtype=np.int64), scalar))
        graph.initializer.append(numpy_helper.from_array(np.array([row], dtype=np.int64), single))
    if "axis_1" not in held:
        graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "axis_1"))
    return scalar, single


def _ask_one(node: onnx.NodeProto, inside: set[str], single: str, known: KnownShapes) -> list[onnx.NodeProto]:
    """Give Attention one query [b, 1, n] and take the axis of size 1 from its result again."""
    result = node.output[0]
    before: list[onnx.NodeProto] = []
    query = node.input[0]
    if query in inside:  # computed for one row alone: [b, n]
        before.append(helper.make_node("Unsqueeze", [query, "axis_1"], [f"{query}_one"], f"Unsqueeze:{query}_one"))
    else:
        before.append(helper.make_node("Gather", [query, single], [f"{query}_one"], f"Gather:{query}_one", axis=1))
    node.input[0] = f"{query}_one"
    mask = node.input[3] if len(node.input) == 4 else ""
    if mask and (known.of(mask) or ())[2:3] != (1,):
        before.append(helper.make_node("Gather", [mask, single], [f"{mask}_one"], f"Gather:{mask}_one", axis=2))
        node.input[3] = f"{mask}_one"
    node.output[0] = f"{result}_one"
    return [*before, node, helper.make_node("Squeeze", [f"{result}_one", "axis_1"], [result], f"Squeeze:{result}")]


def _last_axis(node: onnx.NodeProto) -> None:
    for item in node.attribute:
        if item.name == "axis" and node.op_type == "LayerNormalization":
            item.i = -1
