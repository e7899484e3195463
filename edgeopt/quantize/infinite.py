"""Values that stand for infinity: no integer grid holds them beside others, so what touches them stays in floating point.

Models use them on purpose: a bias of -inf for classes that must not win, a Pad with -inf before MaxPool, a mask of the lowest
float. A range that held them would leave no level for all the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeopt.graph.index import GraphIndex, captured

LARGEST = 1e29
"""Nothing that is meant as a number is larger; -1e30 and the lowest float are masks."""


def holds_infinity(values: NDArray[Any]) -> bool:
    """Tell whether an array has an element that stands for infinity."""
    if not np.issubdtype(values.dtype, np.floating) or not values.size:
        return False
    return bool(max(-float(values.min()), float(values.max())) >= LARGEST)


def reached_by_infinity(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that may be infinite on sound samples: they depend on a constant that is, or on a logarithm."""
    index = GraphIndex(model.graph)
    reached = {name for name in index.initializers if holds_infinity(_values(name, index))}
    for node in model.graph.node:
        brought = node.op_type == "Log" or any(_holds(item) for item in node.attribute)
        if brought or reached.intersection((*node.input, *captured(node))):
            reached.update(node.output)
    return reached


def _holds(attribute: onnx.AttributeProto) -> bool:
    """Tell whether an attribute holds infinity: that of a Constant, or one that older operators have for a value."""
    if attribute.type == onnx.AttributeProto.TENSOR:
        return holds_infinity(onnx.numpy_helper.to_array(attribute.t))
    return attribute.type == onnx.AttributeProto.FLOAT and abs(attribute.f) >= LARGEST


def _values(name: str, index: GraphIndex) -> NDArray[Any]:
    values = index.constant(name)
    return np.zeros(0) if values is None else values
