"""Where channels may be scaled without changing what a network computes: around depthwise convolutions.

    x → Conv E → [Relu or Clip from 0] → Conv D (depthwise) → [Relu or Clip from 0] → Conv P → …

Channel c between E and D can be multiplied by a, the one between D and P by b, if E's filter c (and bias) is multiplied by a,
D's filter by b / a (its bias by b) and P's input channel c divided by b. Relu commutes with that; a Clip at 6 does only
for values that stay below 6 before and after.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeopt.graph.index import GraphIndex, attribute, is_depthwise, replace_constant

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Three convolutions as above: `ceilings` are where the Clips before and behind D cut off (infinite for Relu)."""

    expand: onnx.NodeProto
    depthwise: onnx.NodeProto
    project: onnx.NodeProto
    ceilings: tuple[float, float]

    @property
    def between(self) -> tuple[str, str]:
        """The tensors that D and P read."""
        return self.depthwise.input[0], self.project.input[0]


def find_blocks(model: onnx.ModelProto) -> Iterator[Block]:
    """Yield the blocks whose weights and biases are constants that nothing else reads."""
    index = GraphIndex(model.graph)
    for node in model.graph.node:
        if node.op_type != "Conv" or not is_depthwise(node, index):
            continue
        before = _upwards(node.input[0], node, index)
        behind = _downwards(node, index)
        if before is None or behind is None:
            continue
        expand, project = before[0], behind[0]
        ordinary = attribute(expand, "group", 1) == attribute(project, "group", 1) == 1
        if ordinary and all(_owns(item, index) for item in (expand, node, project)):
            yield Block(expand, node, project, (before[1], behind[1]))


def _owns(node: onnx.NodeProto, index: GraphIndex) -> bool:
    names = [name for name in node.input[1:3] if name]
    return all(name in index.initializers and len(index.consumers[name]) == 1 for name in names)


def _upwards(name: str, reader: onnx.NodeProto, index: GraphIndex) -> tuple[onnx.NodeProto, float] | None:
    """Return the Conv whose result `reader` alone sees, through a Relu or Clip, and the ceiling."""
    maker, ceiling = index.producer.get(name), float("inf")
    if maker is None or not index.feeds_only(name, reader):
        return None
    if maker.op_type in {"Relu", "Clip"}:
        limit = _ceiling(maker, index)
        inner = index.producer.get(maker.input[0])
        if limit is None or inner is None or not index.feeds_only(maker.input[0], maker):
            return None
        maker, ceiling = inner, limit
    return (maker, ceiling) if maker.op_type == "Conv" else None


def _downwards(node: onnx.NodeProto, index: GraphIndex) -> tuple[onnx.NodeProto, float] | None:
    """Return the Conv that alone reads the result of `node`, through a Relu or Clip, and the ceiling."""
    reader, ceiling = index.sole_consumer(node.output[0]), float("inf")
    if reader is not None and reader.op_type in {"Relu", "Clip"}:
        limit = _ceiling(reader, index)
        if limit is None:
            return None
        reader, ceiling = index.sole_consumer(reader.output[0]), limit
    return (reader, ceiling) if reader is not None and reader.op_type == "Conv" else None


def _ceiling(node: onnx.NodeProto, index: GraphIndex) -> float | None:
    """Return where a Relu or Clip from 0 cuts off above; None if it is not of that kind."""
    if node.op_type == "Relu":
        return float("inf")
    low, high = (index.constant(node.input[place]) if len(node.input) > place else None for place in (1, 2))
    if low is None or high is None or float(low) != 0.0:
        return None
    return float(high)


def scale_block(model: onnx.ModelProto, block: Block, first: Floats, second: Floats) -> None:
    """Multiply the channels between E and D by `first` and those between D and P by `second`, in place."""
    index = GraphIndex(model.graph)

    def multiply(name: str, factors: Floats, axis: int) -> None:
        values = np.asarray(index.constant(name))
        shape = [1] * values.ndim
        shape[axis] = factors.size
        replace_constant(model.graph, name, values * factors.reshape(shape))

    for node, weight, bias in ((block.expand, first, first), (block.depthwise, second / first, second)):
        multiply(node.input[1], weight, 0)
        if len(node.input) > 2 and node.input[2]:
            multiply(node.input[2], bias, 0)
    multiply(block.project.input[1], 1 / second, 1)


def weights_of(model: onnx.ModelProto, block: Block) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the weights of E, D and P."""
    index = GraphIndex(model.graph)
    expand, depthwise, project = (
        np.asarray(index.constant(node.input[1])) for node in (block.expand, block.depthwise, block.project)
    )
    return expand, depthwise, project
