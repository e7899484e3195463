"""Embedding tables as int8, with one scale for each row: a quarter of the size, and no row suffers from another's range.

Before: ids → Gather (table, float [rows, width]) → e
After:  ids → Gather (table, int8 [rows, width]) → Cast → Mul → e
        ids → Gather (scales, float [rows, 1]) ────────────↗
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import add_initializer, forget_names, insert_before, new_node, remove_unused, take_over
from edgeopt.graph.matching import array, attribute, constant, is_captured, is_standard, name_of
from edgeopt.quantize.affine import Affine

_SMALLEST = 1 << 14  # elements from which on it is worth three nodes more


def shrink_embeddings(model: ir.Model) -> int:
    """Store the large constant tables that only Gathers read as int8 rows, in place; return how many there were."""
    graph = model.graph
    forget_names(graph)
    tables = [value for value in graph.initializers.values() if is_table(value, graph, smallest=_SMALLEST)]
    for table in tables:
        _shrink(graph, table)
    if tables:
        remove_unused(model)
    return len(tables)


def is_table(value: ir.Value, graph: ir.Graph, *, smallest: int) -> bool:
    """Return whether `value` is a constant table with that many elements of which nothing is read but whole rows."""
    tensor = constant(value)
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2 or tensor.size < smallest:
        return False
    if is_captured(value, graph) or value.is_graph_output() or not value.uses():
        return False
    return all(use.idx == 0 and is_standard(use.node, "Gather") and not attribute(use.node, "axis", 0) for use in value.uses())


def _shrink(graph: ir.Graph, table: ir.Value) -> None:
    numbers, scale = round_rows(np.asarray(array(table)))
    rows = add_initializer(graph, f"{table.name}_quantized", numbers)
    scales = add_initializer(graph, f"{table.name}_scales", scale)
    for gather in table.consumers():
        ids, old = gather.inputs[1], gather.outputs[0]
        name, shape = name_of(old), old.shape
        integers = new_node(gather, "Gather", [rows, ids])
        integers.outputs[0].type = ir.TensorType(ir.DataType.INT8)
        numbers_there = insert_before(graph, gather, integers, f"{name}_as_int8", shape)
        integers.name = gather.name
        cast = new_node(gather, "Cast", [numbers_there], to=ir.DataType.FLOAT.value)
        unscaled = insert_before(graph, gather, cast, f"{name}_unscaled", shape)
        cast.name = name_of(unscaled)
        factors = insert_before(graph, gather, new_node(gather, "Gather", [scales, ids]), f"{name}_row_scales")
        product = new_node(gather, "Mul", [unscaled, factors])
        graph.insert_before(gather, product)
        take_over(old, product.outputs[0])
        product.name = f"Mul:{name}"
        graph.remove(gather, safe=True)


def round_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (int8 rows, scales [rows, 1]) whose product is nearest to the table."""
    found = Affine.of_values(table, "int8", axis=0, symmetric=True)
    return found.quantize(table), found.scale[:, None]
