"""Some nodes of a model compute in float16, the others in float32, with Casts where the two meet.

Before: x → MatMul (w) → m → Exp → e           After: x → Cast → MatMul (w, float16) → m_float16 → Cast → m → Exp → e
                                                                                             (Exp stays in float32)

A tensor is cast once in each direction, before the first node that needs the other form. The float32 form keeps the tensor's
name, because subgraphs and other tools know it by that.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, copied, fresh_name, remove_unused
from edgeopt.graph.matching import array, by_name, name_of
from edgeopt.quantize.schemes.float16_support import float_values, has_subgraphs

_SUFFIX = "_float16"
_HALF = ir.TensorType(ir.DataType.FLOAT16)
_FLOAT = ir.TensorType(ir.DataType.FLOAT)


def with_casts(model: ir.Model, half: Set[str], *, kept: Set[str]) -> ir.Model:
    """Return a copy of `model` whose nodes named in `half` read and return float16.

    Args:
        model: its nodes are in order, and its float32 tensors have their types.
        half: names of nodes that are defined for float16.
        kept: names of inputs and outputs that stay float32; the others become float16.
    """
    made = copied(model)
    casts = _Casts(made, kept)
    for node in list(made.graph):
        casts.convert(node, half=node.name in half)
    casts.convert_outputs()
    remove_unused(made)
    return made


class _Casts:
    """Visits the nodes in order and knows which tensors exist in float32 and which in float16.

    Both maps are by the tensor as the nodes of the original graph know it.
    """

    def __init__(self, model: ir.Model, kept: Set[str]) -> None:
        self.graph, self.kept, self.floats = model.graph, kept, float_values(model)
        self.names = {value: name for name, value in by_name(model.graph).items() if value in self.floats}
        self.wide = {value: value for value in self.floats if value.producer() is None}
        self.narrow: dict[ir.Value, ir.Value] = {}
        for value in self.graph.inputs:
            if value in self.floats and value.name not in kept:
                value.type = _HALF
                self.narrow[value] = self.wide.pop(value)

    def convert(self, node: ir.Node, *, half: bool) -> None:
        """Connect a node to the forms of its inputs that it needs, and note the form of its outputs."""
        for position, value in enumerate(node.inputs):
            if value is not None and value in self.floats:
                node.replace_input_with(position, self._narrowed(value, node) if half else self._widened(value, node))
        if has_subgraphs(node):
            self._convert_captured(node)
        for value in node.outputs:
            if value not in self.floats:
                continue
            if half:
                value.type, value.name = _HALF, fresh_name(self.graph, f"{value.name}{_SUFFIX}")
            (self.narrow if half else self.wide)[value] = value
        if half and node.op_type == "Cast" and node.attributes["to"].value == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)

    def _convert_captured(self, node: ir.Node) -> None:
        """Let the subgraphs of a node read float32."""
        for inner in ir.traversal.RecursiveGraphIterator(ir.GraphView([], [], nodes=[node])):
            for position, value in enumerate(inner.inputs):
                if inner is not node and value in self.floats:
                    inner.replace_input_with(position, self._widened(value, node))
        for graph in _subgraphs(node):
            for position, value in enumerate(graph.outputs):
                if value in self.floats:
                    graph.outputs[position] = self._widened(value, node)

    def _narrowed(self, value: ir.Value, before: ir.Node | None) -> ir.Value:
        """Return the tensor's float16 form, produced before a node if there is none yet."""
        if value not in self.narrow:
            values = array(value)
            if values is None:
                self.narrow[value] = self._cast(self.wide[value], f"{self.names[value]}{_SUFFIX}", _HALF, before)
            else:
                with np.errstate(over="ignore"):
                    rounded = values.astype(np.float16)
                self.narrow[value] = add_initializer(self.graph, f"{value.name}{_SUFFIX}", rounded)
        return self.narrow[value]

    def _widened(self, value: ir.Value, before: ir.Node | None) -> ir.Value:
        """Return the tensor's float32 form, produced before a node if there is none yet."""
        if value not in self.wide:
            source = self.narrow[value]
            name = self.names[value] if source.name != self.names[value] else fresh_name(self.graph, f"{source.name}_float32")
            self.wide[value] = self._cast(source, name, _FLOAT, before)
        return self.wide[value]

    def _cast(self, source: ir.Value, name: str, kind: ir.TensorType, before: ir.Node | None) -> ir.Value:
        node = ir.node("Cast", [source], {"to": kind.dtype}, name=f"Cast:{name}")
        result = node.outputs[0]
        result.name, result.type, result.shape = name, kind, source.shape
        if before is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(before, node)
        return result

    def convert_outputs(self) -> None:
        """Give the outputs their type, and the names that they had."""
        for position, value in enumerate(list(self.graph.outputs)):
            if value not in self.floats:
                continue
            if name_of(value) in self.kept or self.names[value] in self.kept:
                self.graph.outputs[position] = self._widened(value, None)
                continue
            result = self._narrowed(value, None)
            if value in self.wide:
                self.wide[value].name = fresh_name(self.graph, f"{self.names[value]}_float32")
            result.name = self.names[value]
            self.graph.outputs[position] = result


def _subgraphs(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs inside a node, at every depth."""
    found: list[ir.Graph] = []
    for item in node.attributes.values():
        graphs = [item.as_graph()] if item.type == ir.AttributeType.GRAPH else []
        graphs += item.as_graphs() if item.type == ir.AttributeType.GRAPHS else []
        for graph in graphs:
            found += [graph, *(inner for child in graph for inner in _subgraphs(child))]
    return found
