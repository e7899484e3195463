"""The nodes of a part in an exported ONNX file, and the same nodes with fewer units: sliced, not exported again.

    x ─▶ writers ─▶ attention, activation, … ─▶ reader ─▶ y          a block: all nodes between writers and reader

Of the writers' weights the first output channels are left, of the reader's the first input channels, in proportion to the
units; counts of heads, sizes in Split and Reshape and biases in between follow. The values mean nothing, the time does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.errors import ModelError
from edgeopt.graph.editing import add_initializer, copied, read_instead, remove_unused
from edgeopt.prune.structure.parts import Kind, Part

_PRODUCTS = ("MatMul", "Gemm")
_HEAD_COUNTS = ("q_num_heads", "kv_num_heads", "num_heads")
_TYPES = {np.dtype(np.float32): ir.DataType.FLOAT, np.dtype(np.int64): ir.DataType.INT64, np.dtype(np.int32): ir.DataType.INT32}


@dataclass(frozen=True)
class Block:
    """A part's nodes by their place in the graph.

    Attributes:
        part: whose they are.
        nodes: places, in order; the last one is the reader.
        writers: places of the products that compute the units.
        boundary: tensors that enter, besides constants.
        result: what the reader computes.
    """

    part: Part
    nodes: tuple[int, ...]
    writers: frozenset[int]
    boundary: tuple[str, ...]
    result: str


def find_blocks(model: ir.Model, part: Part) -> list[Block]:
    """Return the blocks of `part`, one for each of its readers and uses.

    Raises:
        ModelError: a reader's weight is not in the file under its name.
    """
    nodes = list(model.graph)
    found = []
    for cut in part.readers:
        readers = [place for place, node in enumerate(nodes) if _reads(node, cut.layer)]
        if not readers:
            raise ModelError(f"the exported file has no product with the weight of '{cut.layer}', so it cannot be timed")
        found += [_block(nodes, place, part) for place in readers]
    return found


def boundary_of(blocks: Sequence[Block], model: ir.Model) -> list[str]:
    """Return the names of all tensors that enter blocks and are not inputs of the model."""
    inputs = {value.name for value in model.graph.inputs}
    return sorted({name for block in blocks for name in block.boundary} - inputs)


def alone(model: ir.Model, blocks: Sequence[Block], units: int, values: Batch) -> tuple[ir.Model, Batch]:
    """Return a model of nothing but `blocks`, each with this many units, and the inputs it takes.

    All blocks of a kind run one after another, so that their weights come from where they come from in the whole model, and
    not from the cache nearest to the core. `values` has the tensors at their boundaries.
    """
    part = copied(model)
    graph = part.graph
    nodes = list(graph)
    graph.outputs.clear()
    inputs: dict[str, ir.Value] = {}
    given: dict[str, Array] = {}
    for block in blocks:
        given |= (own := narrow_block(part, block, units, values))
        graph.outputs.append(nodes[block.nodes[-1]].outputs[0])
        for place in block.nodes:
            for value in [value for value in nodes[place].inputs if value is not None and value.name in own]:
                fresh = inputs.setdefault(value.name or "", _input(value.name or "", own[value.name or ""]))
                read_instead(nodes[place], value, fresh)
    graph.inputs.clear()
    remove_unused(part)
    left = {value.name for node in graph for value in node.inputs if value is not None}
    graph.inputs.extend(value for name, value in inputs.items() if name in left)
    _forget_shapes(part)
    return part, {name: given[name] for name in inputs if name in left}


def whole(model: ir.Model, choices: Sequence[tuple[Block, int]], values: Batch) -> tuple[ir.Model, Batch]:
    """Return the whole model with this many units in each block, and its inputs."""
    sliced = copied(model)
    given: dict[str, Array] = {
        name: values[name] for name in (value.name or "" for value in sliced.graph.inputs) if name in values
    }
    for block, units in choices:
        changed = narrow_block(sliced, block, units, values)
        for value in sliced.graph.inputs:
            if value.name in changed and value.name in given and changed[value.name].shape != given[value.name].shape:
                given[value.name] = changed[value.name]
                value.shape = None
    _forget_shapes(sliced)
    return sliced, given


def narrow_block(model: ir.Model, block: Block, units: int, values: Batch) -> dict[str, Array]:
    """Slice the block's weights in `model`, in place; return the values at its boundary as they then must be."""
    nodes = list(model.graph)
    sizes = _Sizes(block, nodes, units)
    given: dict[str, Array] = {}
    for place in block.nodes:
        node = nodes[place]
        for index, value in enumerate(list(node.inputs)):
            if value is None:
                continue
            if value.const_value is not None:
                array = value.const_value.numpy()
                new = sizes.constant(place, node, index, array)
                if new is not None and new.shape == array.shape and np.array_equal(new, array):
                    continue
                if new is not None:
                    node.replace_input_with(index, add_initializer(model.graph, f"{value.name}_{units}", new))
            elif value.name in block.boundary and value.name in values:
                array = sizes.boundary(values[value.name])
                if array.dtype.kind == "i" and array.ndim == 1:  # a shape that was computed from others
                    node.replace_input_with(index, add_initializer(model.graph, f"{value.name}_{units}", array))
                else:
                    given[value.name] = array
        for name in _HEAD_COUNTS:
            if name in node.attributes and node.attributes[name].as_int():
                node.attributes[name] = ir.AttrInt64(name, node.attributes[name].as_int() * units // block.part.units)
    return given


class _Sizes:
    """What becomes of every size in a block with fewer units."""

    def __init__(self, block: Block, nodes: Sequence[ir.Node], units: int) -> None:
        self.units, self.all, self.block = units, block.part.units, block
        reader = nodes[block.nodes[-1]]
        self.inner = {_shape(reader)[_axis(reader, outputs=False)]}
        self.inner |= {_shape(nodes[place])[_axis(nodes[place], outputs=True)] for place in block.writers}
        heads = block.part.kind is Kind.HEADS
        self.head_size = min(cut.width for cut in block.part.writers if len(cut.starts) or cut.width) if heads else 0
        self.counts = {size // self.head_size for size in self.inner if heads and size % self.head_size == 0} | {self.all}

    def constant(self, place: int, node: ir.Node, index: int, array: NDArray[np.generic]) -> NDArray[np.generic] | None:
        """Return what a constant input of a node becomes; None: it stays."""
        if place == self.block.nodes[-1]:
            return self._first(array, _axis(node, outputs=False)) if index == 1 else None
        if place in self.block.writers:
            return self._first(array, _axis(node, outputs=True) if index == 1 else array.ndim - 1)
        if array.dtype.kind == "i" and array.ndim == 1:
            return array * self.units // self.all if node.op_type == "Split" else self._shape(array)
        if array.dtype.kind == "f" and array.ndim and array.shape[-1] in self.inner:
            return self._first(array, array.ndim - 1)
        return None

    def boundary(self, array: Array) -> Array:
        """Return what a tensor at the boundary becomes: shapes, and caches [batch, heads, past, size]."""
        if array.dtype.kind == "i" and array.ndim == 1:
            return self._shape(array)
        if self.head_size and array.ndim == 4 and array.shape[1] == self.all and array.shape[3] == self.head_size:
            return self._first(array, 1)
        return array

    def _first(self, array: Array, axis: int) -> Array:
        return np.ascontiguousarray(array.take(range(array.shape[axis] * self.units // self.all), axis=axis))

    def _shape(self, sizes: Array) -> Array:
        new = sizes.copy()
        for place, size in enumerate(sizes):
            follows = place + 1 < len(sizes) and sizes[place + 1] == self.head_size
            if (size in self.inner and place == len(sizes) - 1) or (self.head_size and follows and size in self.counts):
                new[place] = size * self.units // self.all
        return new


def _reads(node: ir.Node, layer: str) -> bool:
    if node.op_type not in _PRODUCTS or len(node.inputs) < 2 or node.inputs[1] is None:
        return False
    name = (node.inputs[1].name or "").removesuffix("_t")
    return node.inputs[1].const_value is not None and (name == f"{layer}.weight" or name.endswith(f".{layer}.weight"))


def _block(nodes: Sequence[ir.Node], reader: int, part: Part) -> Block:
    places = {id(node): place for place, node in enumerate(nodes)}
    writers, between = set(), set()
    waiting = list(_producers(nodes[reader]))
    while waiting:
        node = waiting.pop()
        place = places.get(id(node))
        if place is None or place in between or place in writers or node.op_type in ("Shape", "Size"):
            continue
        if node.op_type in _PRODUCTS and node.inputs[1] is not None and node.inputs[1].const_value is not None:
            writers.add(place)
            continue
        between.add(place)
        waiting += _producers(node)
    inside = set(writers)
    for place in sorted(between):
        if any(places.get(id(node)) in inside for node in _producers(nodes[place])):
            inside.add(place)
    ordered = (*sorted(inside), reader)
    made = {value.name for place in ordered for value in nodes[place].outputs}
    boundary = dict.fromkeys(
        value.name or ""
        for place in ordered
        for value in nodes[place].inputs
        if value is not None and value.const_value is None and value.name not in made
    )
    return Block(part, ordered, frozenset(writers), tuple(boundary), nodes[reader].outputs[0].name or "")


def _producers(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        if value is not None and value.const_value is None and (producer := value.producer()) is not None:
            yield producer


def _axis(node: ir.Node, *, outputs: bool) -> int:
    """Return the axis of a product's weight, counted from 0 for two axes, that its outputs or inputs lie on."""
    transposed = node.op_type == "Gemm" and "transB" in node.attributes and bool(node.attributes["transB"].as_int())
    return int(outputs != transposed)


def _shape(node: ir.Node) -> tuple[int, ...]:
    weight = node.inputs[1]
    assert weight is not None and weight.const_value is not None
    return weight.const_value.numpy().shape


def _input(name: str, array: Array) -> ir.Value:
    kind = _TYPES.get(array.dtype, ir.DataType.from_numpy(array.dtype))
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(kind))


def _forget_shapes(model: ir.Model) -> None:
    outputs = {id(value) for value in model.graph.outputs}
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
            if id(value) not in outputs:
                value.type = None


def signature(model: ir.Model, inputs: Mapping[str, Array]) -> str:
    """Return the operators with their attributes and the shapes they run on, by which a time is known again."""
    parts = [f"{name}{list(array.shape)}{array.dtype}" for name, array in zip(range(len(inputs)), inputs.values(), strict=True)]
    for node in model.graph:
        shapes = [
            "" if value is None else str(list(value.const_value.shape)) if value.const_value is not None else "·"
            for value in node.inputs
        ]
        attributes = sorted(
            f"{name}={attribute.value}"
            for name, attribute in node.attributes.items()
            if attribute.type != ir.AttributeType.TENSOR
        )
        parts.append(f"{node.domain}{node.op_type}({', '.join(shapes)}){attributes}")
    return "\n".join(parts)
