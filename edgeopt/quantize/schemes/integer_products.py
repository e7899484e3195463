"""Products by constant matrices whose activations are rounded at run time.

Before: x → MatMul (w) → y
After:  x → DynamicQuantizeLinear → q, s, z
        MatMulInteger (q, w as int8, z, 0) → Cast → Mul (s · scales of w) → y

onnxruntime makes one DynamicQuantizeMatMul of that, with the Add of a bias behind it; where several products read the same x,
which is then rounded once, a MatMulIntegerToFloat each. Weights have a scale for each column, and zero point 0.
"""

from __future__ import annotations

from collections.abc import Set

import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, fresh_name, remove_unused, take_over
from edgeopt.graph.matching import array, name_of
from edgeopt.quantize.affine import Affine

ROUNDED = "_quant"
"""What the name of the integer product has behind that of the node in whose place it stands."""


def quantize_products(model: ir.Model, names: Set[str]) -> None:
    """Replace the MatMul nodes called `names`, whose second factor is a constant matrix, in place."""
    writer = _Writer(model.graph)
    for node in [node for node in model.graph if node.name in names]:
        writer.replace(node)
    if names:
        remove_unused(model)


class _Writer:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._rounded: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}
        self._weights: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}

    def replace(self, node: ir.Node) -> None:
        """Put the integer form in the place of a MatMul, under the name of its result."""
        given, weight = node.inputs[:2]
        if given is None or weight is None:
            return
        integers, scale, zero = self._rounded_at_run_time(given, node)
        matrix, scales, zeros = self._constants(weight)
        name, result = name_of(node), node.outputs[0]
        product = self._add(node, "MatMulInteger", [integers, matrix, zero, zeros], f"{name}{ROUNDED}", ir.DataType.INT32)
        made = product.producer()
        if made is not None:
            made.metadata_props.update(node.metadata_props)
        floats = self._add(node, "Cast", [product], f"{name}_cast", ir.DataType.FLOAT, to=int(ir.DataType.FLOAT))
        factors = self._add(node, "Mul", [scale, scales], f"{name}_scales", ir.DataType.FLOAT)
        scaled = self._add(node, "Mul", [floats, factors], f"{name}_scaled", ir.DataType.FLOAT)
        take_over(result, scaled)
        self._graph.remove(node, safe=True)

    def _rounded_at_run_time(self, value: ir.Value, before: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return integers, scale and zero point of an activation, which is rounded once for all its products."""
        if value not in self._rounded:
            node = ir.node("DynamicQuantizeLinear", [value], num_outputs=3, name=f"{value.name}_rounding")
            kinds = (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8)
            for made, end, kind in zip(node.outputs, ("quantized", "scale", "zero_point"), kinds, strict=True):
                made.name, made.type = fresh_name(self._graph, f"{value.name}_{end}"), ir.TensorType(kind)
                made.shape = value.shape if end == "quantized" else ir.Shape([])
            self._graph.insert_before(before, node)
            self._rounded[value] = (node.outputs[0], node.outputs[1], node.outputs[2])
        return self._rounded[value]

    def _constants(self, value: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return integers, scales and zero points of a matrix."""
        values = array(value)
        if value not in self._weights and values is not None:
            affine = Affine.of_values(values, "int8", axis=1, symmetric=True)
            parts = {"quantized": affine.quantize(values), "scale": affine.scale, "zero_point": affine.zero}
            made = [add_initializer(self._graph, f"{value.name}_{end}", part) for end, part in parts.items()]
            self._weights[value] = (made[0], made[1], made[2])
        return self._weights[value]

    def _add(
        self, before: ir.Node, op: str, inputs: list[ir.Value], name: str, kind: ir.DataType, **attributes: int
    ) -> ir.Value:
        node = ir.node(op, inputs, attributes, name=name)
        value: ir.Value = node.outputs[0]
        value.name, value.type = fresh_name(self._graph, name), ir.TensorType(kind)
        self._graph.insert_before(before, node)
        return value
