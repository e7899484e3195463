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
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import replace_constant
from edgeopt.graph.matching import array, attribute, constant, is_depthwise, is_standard, name_of, sole_consumer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Three convolutions as above: `ceilings` are where the Clips before and behind D cut off (infinite for Relu)."""

    expand: ir.Node
    depthwise: ir.Node
    project: ir.Node
    ceilings: tuple[float, float]

    @property
    def between(self) -> tuple[str, str]:
        """The tensors that D and P read."""
        return name_of(self.depthwise.inputs[0]), name_of(self.project.inputs[0])


def find_blocks(model: ir.Model) -> Iterator[Block]:
    """Yield the blocks whose weights and biases are constants that nothing else reads."""
    for node in model.graph:
        if not is_standard(node, "Conv") or not is_depthwise(node):
            continue
        before, behind = _upwards(node), _downwards(node)
        if before is None or behind is None:
            continue
        expand, project = before[0], behind[0]
        ordinary = attribute(expand, "group", 1) == attribute(project, "group", 1) == 1
        if ordinary and all(_owns(item) for item in (expand, node, project)):
            yield Block(expand, node, project, (before[1], behind[1]))


def _owns(node: ir.Node) -> bool:
    values = [value for value in node.inputs[1:3] if value is not None]
    return all(constant(value) is not None and len(value.consumers()) == 1 for value in values)


def _upwards(node: ir.Node) -> tuple[ir.Node, float] | None:
    """Return the Conv whose result `node` alone reads, through a Relu or Clip, and the ceiling."""
    producer, ceiling = _private_producer(node), float("inf")
    if producer is not None and producer.op_type in {"Relu", "Clip"}:
        limit = _ceiling(producer)
        if limit is None:
            return None
        producer, ceiling = _private_producer(producer), limit
    return (producer, ceiling) if producer is not None and producer.op_type == "Conv" else None


def _private_producer(node: ir.Node) -> ir.Node | None:
    """Return the producer of the first input if nothing else reads that."""
    value = node.inputs[0]
    return value.producer() if value is not None and sole_consumer(value) is node else None


def _downwards(node: ir.Node) -> tuple[ir.Node, float] | None:
    """Return the Conv that alone reads the result of `node`, through a Relu or Clip, and the ceiling."""
    reader, ceiling = sole_consumer(node.outputs[0]), float("inf")
    if reader is not None and reader.op_type in {"Relu", "Clip"}:
        limit = _ceiling(reader)
        if limit is None:
            return None
        reader, ceiling = sole_consumer(reader.outputs[0]), limit
    return (reader, ceiling) if reader is not None and reader.op_type == "Conv" else None


def _ceiling(node: ir.Node) -> float | None:
    """Return where a Relu or Clip from 0 cuts off above; None if it is not of that kind."""
    if node.op_type == "Relu":
        return float("inf")
    low, high = (array(node.inputs[place]) if len(node.inputs) > place else None for place in (1, 2))
    if low is None or high is None or float(low) != 0.0:
        return None
    return float(high)


def scale_block(block: Block, first: Floats, second: Floats) -> None:
    """Multiply the channels between E and D by `first` and those between D and P by `second`, in place."""

    def multiply(value: ir.Value | None, factors: Floats, axis: int) -> None:
        values = array(value)
        if value is None or values is None:
            return
        shape = [1] * values.ndim
        shape[axis] = factors.size
        replace_constant(value, values * factors.reshape(shape))

    for node, weight, bias in ((block.expand, first, first), (block.depthwise, second / first, second)):
        multiply(node.inputs[1], weight, 0)
        if len(node.inputs) > 2:
            multiply(node.inputs[2], bias, 0)
    multiply(block.project.inputs[1], 1 / second, 1)


def weights_of(block: Block) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the weights of E, D and P."""
    expand, depthwise, project = (np.asarray(array(node.inputs[1])) for node in (block.expand, block.depthwise, block.project))
    return expand, depthwise, project
