"""Which inputs an integer operator reads rounded, and how: the table by which Q/DQ pairs are inserted.

activations   rounded as activations are; constants among them (the second summand of an Add, say) get a pair of their own
weight        a constant with the integer type of weights, a scale for each output channel where the target takes that
bias          a constant on the grid of the sums, 32 bits
shares        the results are values that the first input has, so they are rounded by the very same scale and zero point
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgeopt.graph.matching import array, attribute, constant, is_float

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that multiply an activation by weights."""
NORMALIZATIONS = frozenset({"BatchNormalization", "InstanceNormalization", "LayerNormalization"})
REMOVABLE = frozenset({"Clip", "Relu"})
"""The integer grid of their output does the same: the node is removed, if the zero point is free."""
_FIRST = frozenset(
    {"AveragePool", "Flatten", "MaxPool", "Reshape", "Resize", "Slice", "Split", "Squeeze", "TopK", "Transpose", "Unsqueeze"}
)
FIRST_ALONE = _FIRST | REMOVABLE
"""Operators of which the first input alone is rounded."""
_LOOKED_UP = frozenset({"Gather", "GatherElements"})


@dataclass(frozen=True)
class Operands:
    """Positions among the inputs of a node; `outputs` are those that can be rounded."""

    activations: tuple[int, ...]
    outputs: tuple[int, ...]
    weight: int | None = None
    bias: int | None = None
    shares: bool = False


def operands(node: ir.Node) -> Operands:
    """Return the operands that `node` reads rounded when it runs on integers."""
    floats = tuple(place for place, value in enumerate(node.inputs) if is_float(value))
    results = tuple(place for place, value in enumerate(node.outputs) if is_float(value))
    op = node.op_type
    if op in WEIGHTED or op in NORMALIZATIONS:
        return _weighted(node, results)
    if op in _FIRST | _LOOKED_UP:
        return Operands((0,), results if op == "Split" else results[:1], shares=True)
    if op in REMOVABLE:
        return Operands((0,), results)
    if op == "Where":
        return Operands(tuple(place for place in floats if place > 0), results)
    return Operands(floats, results, shares=op == "Pad" and _pads_with_what_is_there(node))


def _weighted(node: ir.Node, results: tuple[int, ...]) -> Operands:
    weight = 1 if constant(node.inputs[1]) is not None else None
    if node.op_type == "MatMul":
        return Operands((0, 1) if weight is None else (0,), results, weight)
    bias = 2 if len(node.inputs) > 2 and constant(node.inputs[2]) is not None and is_float(node.inputs[2]) else None
    return Operands((0, 1) if weight is None else (0,), results, weight, bias)


def _pads_with_what_is_there(node: ir.Node) -> bool:
    """Return whether a Pad adds values of its input, or zeros, which every grid has."""
    mode = attribute(node, "mode", "constant")
    if mode != "constant":
        return True
    value = node.inputs[2] if len(node.inputs) > 2 else None
    padding = array(value)
    return value is None or (padding is not None and not padding.any())


def channel_axis(node: ir.Node) -> int:
    """Return the axis of the output channels of the weight of a Conv, ConvTranspose, Gemm or MatMul."""
    return 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
