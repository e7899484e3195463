"""Embedding tables as int8, with one scale for each row: a quarter of the size, and no row suffers from another's range.

Before: ids → Gather (table, float [rows, width]) → e
After:  ids → Gather (table, int8 [rows, width]) → Cast → Mul → e
        ids → Gather (scales, float [rows, 1]) ────────────↗
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeopt.graph.index import GraphIndex, attribute, remove_unused_constants
from edgeopt.quantize.affine import Affine

_SMALLEST = 1 << 14  # elements from which on it is worth three nodes more


def shrink_embeddings(model: onnx.ModelProto) -> int:
    """Store the large constant tables that only Gathers read as int8 rows, in place; return how many there were."""
    graph = model.graph
    index = GraphIndex(graph)
    tables: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "Gather" and attribute(node, "axis", 0) == 0 and _is_table(node.input[0], index):
            tables.setdefault(node.input[0], index.consumers[node.input[0]])
    tables = {name: readers for name, readers in tables.items() if all(_gathers(node, name) for node in readers)}
    for name in tables:
        rows, scales = round_rows(numpy_helper.to_array(index.initializers[name]))
        graph.initializer.append(numpy_helper.from_array(rows, f"{name}_quantized"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scales"))
    ordered: list[onnx.NodeProto] = []
    for node in graph.node:
        ordered += _rewritten(node) if node.op_type == "Gather" and node.input[0] in tables else [node]
    del graph.node[:]
    graph.node.extend(ordered)
    remove_unused_constants(graph)
    return len(tables)


def _is_table(name: str, index: GraphIndex) -> bool:
    tensor = index.initializers.get(name)
    if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2:
        return False
    return tensor.dims[0] * tensor.dims[1] >= _SMALLEST and name not in index.captured | index.outputs


def _gathers(node: onnx.NodeProto, name: str) -> bool:
    return node.op_type == "Gather" and node.input[0] == name and node.input[1] != name and attribute(node, "axis", 0) == 0


def _rewritten(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    table, ids, result = node.input[0], node.input[1], node.output[0]
    names = [f"{result}_as_int8", f"{result}_unscaled", f"{result}_row_scales"]  # `_quantized` is onnxruntime's name
    return [
        helper.make_node("Gather", [f"{table}_quantized", ids], names[:1], node.name),
        helper.make_node("Cast", names[:1], names[1:2], names[1], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [f"{table}_scales", ids], names[2:], names[2]),
        helper.make_node("Mul", names[1:], [result], f"Mul:{result}"),
    ]


def round_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return (int8 rows, scales [rows, 1]) whose product is nearest to the table."""
    found = Affine.of_values(table, "int8", axis=0, symmetric=True)
    return found.quantize(table), found.scale[:, None]
