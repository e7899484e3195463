"""Operators that treat rows alike: each row of the result follows from the same row of what is read, and from constants.

A row is what lies along the last axis of a tensor. `FlattenRows` and `ChosenRows` move such operators between tensors with many
rows on two axes and more, rows on one axis, and single rows.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from edgeopt.graph.matching import attribute, constant, produced_by, rank

UNARY = frozenset(
    ("Abs", "Cast", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Neg")
) | frozenset(("Relu", "Sigmoid", "Softplus", "Sqrt", "Swish", "Tanh"))
ELEMENTWISE = frozenset(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum"))
"""Operators on two operands and more, with broadcasting."""
LAST_AXIS = frozenset(("LayerNormalization", "RMSNormalization", "Softmax", "Split"))
"""Operators with an attribute `axis`, along which they look at a whole row if it is the last."""


def is_row_wise(node: ir.Node, has_rows: Callable[[ir.Value | None], bool], *, axes: int) -> bool:
    """Return whether `node` treats rows alike.

    Args:
        node: any node.
        has_rows: returns whether a value has the rows that are meant.
        axes: how many axes such values have.
    """
    if node.domain:
        return False
    first, others = node.inputs[0], node.inputs[1:]
    if node.op_type == "MatMul":
        return has_rows(first) and is_matrix(others[0])
    if node.op_type in ELEMENTWISE:
        return all(has_rows(value) or is_shared(value) for value in node.inputs)
    if node.op_type in LAST_AXIS and _axis(node) not in {-1, axes - 1}:
        return False
    return node.op_type in UNARY | LAST_AXIS and has_rows(first) and all(is_shared(value) for value in others)


def _axis(node: ir.Node) -> int:
    axis: int = attribute(node, "axis", 0 if node.op_type == "Split" else -1)
    return axis


def is_matrix(value: ir.Value | None) -> bool:
    """Return whether `value` is a constant matrix, also one that a Transpose makes of a large table."""
    transpose = produced_by(value, "Transpose")
    source = value if transpose is None else transpose.inputs[0]
    return constant(source) is not None and rank(source) == 2


def is_shared(value: ir.Value | None) -> bool:
    """Return whether `value` is left out, or a constant that is the same for all rows."""
    return value is None or (constant(value) is not None and (rank(value) or 0) <= 1)


def follow_last_axis(node: ir.Node) -> None:
    """Let `node` count its axis from behind, before it gets tensors with fewer axes."""
    if node.op_type in LAST_AXIS:
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
