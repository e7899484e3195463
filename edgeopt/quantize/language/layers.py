"""The matrices of a language model, and their place in it: body, head, embedding.

    Before: x → MatMul (w [k, n]) → y                After: x → MatMulNBits (w as n × k/block blocks) → y
            ids → Gather (table) → e                        ids → GatherBlockQuantized (table as blocks) → e

An embedding that is the head, too, is one tensor: its blocks are read by row and multiplied with.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import add_initializer, import_contrib_operators, take_over
from edgeopt.graph.matching import array, attribute, constant, int64, is_float, is_standard, name_of, produced_by
from edgeopt.quantize.language.blocks import Blocked
from edgeopt.quantize.schemes.pack import packed

NORMS = {"RMSNormalization": 1, "SimplifiedLayerNormalization": 1, "SkipSimplifiedLayerNormalization": 2}
"""Position of the weight among a norm's inputs."""
_SMALLEST = 1 << 10
"""Elements of a matrix from which on it pays."""
_ACCURACY_LEVEL = 4
"""Activations rounded to 8 bits block by block: the only kernels that are fast on CPUs, for 4 and for 8 bits."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A product by a constant matrix."""

    node: ir.Node
    source: ir.Value
    """The constant that holds the weights; an embedding's, where the head shares it."""
    turned: bool
    """The constant is [outputs, inputs] already."""
    head: bool

    @property
    def name(self) -> str:
        """The node's name."""
        return name_of(self.node)

    @property
    def given(self) -> ir.Value:
        """What is multiplied with the matrix."""
        value = self.node.inputs[0]
        if value is None:
            raise ValueError(f"{self.name} has no input")
        return value

    def weight(self) -> NDArray[Any]:
        """Return the weights [outputs, inputs]."""
        values = np.asarray(array(self.source))
        return values if self.turned else values.T


@dataclass(frozen=True)
class Rounded:
    """A matrix, and the blocks that stand for it."""

    layer: Layer
    blocks: Blocked


@dataclass(frozen=True, eq=False)
class Table:
    """An embedding: the rows of a constant, read by one Gather."""

    node: ir.Node
    source: ir.Value


def find_layers(model: ir.Model, excluded: Container[str] = ()) -> list[Layer]:
    """Return the products by large constant matrices, in the order of the graph; the last one gives the logits."""
    logits = next((value for value in model.graph.outputs if value.name == "logits"), None)
    head = _head(logits)
    found = []
    for node in model.graph:
        if not is_standard(node, "MatMul") or name_of(node) in excluded:
            continue
        source, turned = node.inputs[1], False
        transpose = produced_by(source, "Transpose")
        if transpose is not None and tuple(attribute(transpose, "perm", ())) == (1, 0):
            source, turned = transpose.inputs[0], True
        tensor = constant(source)
        if source is None or tensor is None or len(tensor.shape) != 2 or not is_float(source) or tensor.size < _SMALLEST:
            continue
        layer = Layer(node, source, turned, head=node is head)
        found.append(_tied(layer, model) if layer.head and not turned else layer)
    return found


def give_own_constants(model: ir.Model) -> None:
    """Give every product a constant of its own where it reads another's: each has integers and scales of its own.

    Before: x → MatMul (w) → MatMul (w) → y                After: x → MatMul (w) → MatMul (w_2) → y
    """
    taken: set[ir.Value] = set()
    for layer in find_layers(model):
        if layer.source in taken:
            own = add_initializer(model.graph, f"{layer.source.name}_of_{layer.name}", layer.weight().T)
            layer.node.replace_input_with(1, own)
        taken.add(layer.source)


def norm_weights(model: ir.Model) -> list[ir.Value]:
    """Return the constant weights of the norms, in the order of the graph."""
    places = NORMS | {"LayerNormalization": 1}
    found = (node.inputs[places[node.op_type]] for node in model.graph if node.op_type in places)
    return list(dict.fromkeys(value for value in found if value is not None and constant(value) is not None))


def _tied(layer: Layer, model: ir.Model) -> Layer:
    """Return the head with the embedding as its source, where both hold the same numbers: exporters turn small ones over."""
    weight = layer.weight()
    for table in find_tables(model):
        rows = array(table.source)
        if rows is not None and rows.shape == weight.shape and np.array_equal(rows, weight):
            return Layer(layer.node, table.source, turned=True, head=True)
    return layer


def _head(logits: ir.Value | None) -> ir.Node | None:
    """Return the product that the logits are, but for biases, scales and caps."""
    while logits is not None:
        node = logits.producer()
        if node is None or is_standard(node, "MatMul"):
            return node
        logits = next((value for value in node.inputs if value is not None and constant(value) is None), None)
    return None


def side_by_side(layers: Sequence[Layer], bits: Mapping[str, int]) -> list[list[Layer]]:
    """Return the layers in groups that become one product: those of one input and as many bits, a head always alone."""
    groups: dict[tuple[ir.Value, int, str], list[Layer]] = {}
    for layer in layers:
        alone = layer.name if layer.head or layer.node.outputs[0].is_graph_output() else ""
        groups.setdefault((layer.given, bits[layer.name], alone), []).append(layer)
    return list(groups.values())


def find_tables(model: ir.Model) -> list[Table]:
    """Return the embeddings of tokens: Gathers of rows of large constants."""
    found = []
    for node in model.graph:
        if is_standard(node, "Gather") and not attribute(node, "axis", 0):
            tensor = constant(node.inputs[0])
            if tensor is not None and len(tensor.shape) == 2 and is_float(node.inputs[0]) and tensor.size >= _SMALLEST:
                found.append(Table(node, node.inputs[0]))  # type: ignore[arg-type]  # (a constant is there)
    return found


class Packed:
    """A matrix as constants of the graph, made once for all that read it."""

    def __init__(self, graph: ir.Graph, blocks: Blocked, name: str, bits: int) -> None:
        count, block = blocks.numbers.shape[1:]
        self.bits, self.block = bits, block
        self.outputs, self.inputs = len(blocks.numbers), blocks.inputs
        self._graph, self._name = graph, name
        self._bytes = packed(blocks.numbers, bits)
        self._blocks: ir.Value | None = None
        self.scales = add_initializer(graph, f"{name}_scales", np.ascontiguousarray(blocks.scales))
        self.zeros = add_initializer(graph, f"{name}_zeros", packed(np.ascontiguousarray(blocks.zeros), bits))
        self.whole = count * block == blocks.inputs

    def multiply(self, layer: Layer) -> None:
        """Make the layer's node a MatMulNBits over these constants."""
        if self._blocks is None:
            self._blocks = add_initializer(self._graph, f"{self._name}_blocks", self._bytes)
        node = layer.node
        node.domain, node.op_type = "com.microsoft", "MatMulNBits"
        node.resize_inputs(4)
        for position, value in enumerate((self._blocks, self.scales, self.zeros), start=1):
            node.replace_input_with(position, value)
        numbers = {"K": self.inputs, "N": self.outputs, "bits": self.bits, "block_size": self.block}
        for key, number in {**numbers, "accuracy_level": _ACCURACY_LEVEL}.items():
            node.attributes[key] = ir.AttrInt64(key, number)

    def multiply_all(self, layers: Sequence[Layer]) -> None:
        """Make the layers' nodes one MatMulNBits over these constants, which hold their matrices one below the other.

        Before: g = x · G;  u = x · U        After: g, u = Split(x · [G U])
        """
        first, values = layers[0].node, [layer.node.outputs[0] for layer in layers]
        widths = add_initializer(self._graph, f"{self._name}_widths", int64(*(layer.weight().shape[0] for layer in layers)))
        whole = ir.Value(name=f"{values[0].name}_whole", type=values[0].type)
        split = ir.node("Split", [whole, widths], {"axis": -1}, num_outputs=len(layers), name=f"{layers[0].name}/Split")
        product = ir.Node("", "MatMul", first.inputs, outputs=[whole], name=layers[0].name)
        product.metadata_props.update(first.metadata_props)
        if values[0].shape is not None:
            whole.shape = ir.Shape([*values[0].shape[:-1], self.outputs])
        self._graph.insert_before(first, [product, split])
        for value, part in zip(values, split.outputs, strict=True):
            take_over(value, part)
        self._graph.remove([layer.node for layer in layers], safe=True)
        self.multiply(Layer(product, layers[0].source, turned=False, head=False))

    def look_up(self, table: Table) -> None:
        """Read the rows of an embedding from these constants; the bytes are the same that `multiply` reads."""
        rows = add_initializer(self._graph, f"{self._name}_rows", self._bytes.reshape(self.outputs, -1))
        attributes = {"bits": self.bits, "block_size": self.block, "gather_axis": 0, "quantize_axis": 1}
        inputs = [rows, table.node.inputs[1], self.scales, self.zeros]
        made = ir.node("GatherBlockQuantized", inputs, attributes, domain="com.microsoft")
        made.name = name_of(table.node)
        made.metadata_props.update(table.node.metadata_props)
        self._graph.insert_before(table.node, made)
        take_over(table.node.outputs[0], made.outputs[0])
        self._graph.remove(table.node, safe=True)


def declare(model: ir.Model) -> None:
    """Note that the graph has onnxruntime's contrib operators."""
    import_contrib_operators(model)
