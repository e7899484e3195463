"""Smoothing: the channels of an activation are scaled down, the rows of the weights they meet up.

Before: x → Gemm (W)                              After: x → Mul (1/s) → Gemm (s·W)
            ↘ others                                         ↘ others (read x itself)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, copied, insert_before, new_node, remove_unused
from edgeopt.graph.matching import array, attribute, is_standard, name_of
from edgeopt.quantize.plan.plan import Plan, SmoothPlan
from edgeopt.quantize.plan.smoothquant import scaled_weight


def smooth(model: ir.Model, factors: Mapping[str, Sequence[float]]) -> ir.Model:
    """Return a copy with the inputs of Gemm and MatMul nodes scaled by 1 / factors, and their weights by factors."""
    return _smoothed(model, tuple(SmoothPlan(name, 0.0, tuple(values)) for name, values in factors.items()))


def smoothed(model: ir.Model, plan: Plan) -> ir.Model:
    """Return a copy of `model` with the plan's smoothing carried out; the weights that it leaves alone are shared."""
    return _smoothed(model, plan.smoothing)


def _smoothed(model: ir.Model, plans: Sequence[SmoothPlan]) -> ir.Model:
    made = copied(model)
    graph = made.graph
    wanted = {item.name: item for item in plans}
    copies: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        value, weight = node.inputs[:2] if _multiplies_rows(node) else (None, None)
        item, values = wanted.get(name_of(value)), array(weight)
        if item is None or value is None or weight is None or values is None:
            continue
        if value not in copies:
            copies[value] = _scale_down(graph, node, value, item)
        node.replace_input_with(0, copies[value])
        scaled = scaled_weight(node, values, item.factors)
        node.replace_input_with(1, add_initializer(graph, f"{weight.name}_by_{node.name}", scaled))
    remove_unused(made)
    return made


def _multiplies_rows(node: ir.Node) -> bool:
    """Return whether a node multiplies the rows of its first input by a constant matrix, or by several."""
    if not is_standard(node, "Gemm", "MatMul") or attribute(node, "transA", 0):
        return False
    values = array(node.inputs[1])
    return values is not None and values.ndim > 1


def _scale_down(graph: ir.Graph, before: ir.Node, value: ir.Value, item: SmoothPlan) -> ir.Value:
    """Return the scaled copy of a tensor, which is put before a node."""
    factors = add_initializer(graph, f"{item.name}_factors", 1 / np.asarray(item.factors, dtype=np.float32))
    mul = new_node(before, "Mul", [value, factors])
    mul.outputs[0].type = value.type
    return insert_before(graph, before, mul, item.scaled, value.shape)
