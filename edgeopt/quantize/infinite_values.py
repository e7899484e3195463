"""Values that stand for infinity: no integer grid holds them beside others, so what touches them stays in floating point.

Models use them on purpose: a bias of -inf for classes that must not win, a Pad with -inf before MaxPool, a mask of the lowest
float. A range that held them would leave no level for all the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.matching import array, names_of

LARGEST = 1e29
"""Nothing that is meant as a number is larger; -1e30 and the lowest float are masks."""


def holds_infinity(values: NDArray[Any]) -> bool:
    """Return whether an array has an element that stands for infinity."""
    if not np.issubdtype(values.dtype, np.floating) or not values.size:
        return False
    return bool(max(-float(values.min()), float(values.max())) >= LARGEST)


def reached_by_infinity(model: ir.Model, masks: Collection[str] = ()) -> set[str]:
    """Return the tensors that may be infinite on sound samples: they depend on a constant that is, a logarithm or a mask."""
    graph = model.graph
    reached = {value for value in graph.initializers.values() if _is_infinite(value)}
    reached.update(value for value in graph.inputs if value.name in masks)
    for node in graph:
        inner = [item for subgraph in _subgraphs(node) for item in subgraph.all_nodes()]
        brought = node.op_type == "Log" or any(_holds(item) for item in node.attributes.values())
        if brought or reached.intersection(value for item in (node, *inner) for value in item.inputs if value is not None):
            reached.update(node.outputs)
    return set(names_of(reached))


def _is_infinite(value: ir.Value) -> bool:
    values = array(value)
    return values is not None and holds_infinity(values)


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for item in node.attributes.values():
        if item.type == ir.AttributeType.GRAPH:
            yield item.as_graph()
        elif item.type == ir.AttributeType.GRAPHS:
            yield from item.as_graphs()


def _holds(item: ir.Attr) -> bool:
    """Return whether an attribute holds infinity: that of a Constant, or one that older operators have for a value."""
    if item.type == ir.AttributeType.TENSOR:
        return holds_infinity(item.as_tensor().numpy())
    return item.type == ir.AttributeType.FLOAT and abs(item.as_float()) >= LARGEST
