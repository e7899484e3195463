"""Smoothing: the channels of an activation are scaled down, the rows of the weights they meet up.

Before: x → Gemm (W)                              After: x → Mul (1/s) → Gemm (s·W)
            ↘ others                                         ↘ others (read x itself)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, attribute, used_names
from edgeopt.quantize.plan.plan import Plan


def smoothed_name(tensor: str) -> str:
    """Return the name of the scaled copy of `tensor`."""
    return f"{tensor}_smoothed"


def scaled_weight(node: onnx.NodeProto, weight: NDArray[Any], factors: Sequence[float]) -> NDArray[np.float32]:
    """Return the weight of a Gemm or MatMul with its input channels multiplied by `factors`."""
    scale = np.asarray(factors, dtype=np.float32)
    return np.asarray(weight * (scale[None, :] if attribute(node, "transB", 0) else scale[:, None]), dtype=np.float32)


def smooth(model: onnx.ModelProto, factors: Mapping[str, Sequence[float]]) -> onnx.ModelProto:
    """Return a copy with the inputs of Gemm and MatMul nodes scaled by 1 / factors, and their weights by factors."""
    index = GraphIndex(model.graph)
    made = onnx_file.without_constants(model)
    graph = made.graph
    ordered: list[onnx.NodeProto] = []
    scaled: set[str] = set()
    for node in graph.node:
        name = node.input[0] if node.op_type in {"Gemm", "MatMul"} else ""
        if name in factors and node.input[1] in index.initializers:
            scale = np.asarray(factors[name], dtype=np.float32)
            if name not in scaled:
                scaled.add(name)
                graph.initializer.append(numpy_helper.from_array(1 / scale, f"{name}_factors"))
                ordered.append(
                    helper.make_node("Mul", [name, f"{name}_factors"], [smoothed_name(name)], f"Mul:{smoothed_name(name)}")
                )
            weight = scaled_weight(node, numpy_helper.to_array(index.initializers[node.input[1]]), factors[name])
            node.input[1] = f"{node.input[1]}_by_{node.name}"
            graph.initializer.append(numpy_helper.from_array(weight, node.input[1]))
            node.input[0] = smoothed_name(name)
        ordered.append(node)
    for name in sorted(scaled):
        graph.value_info.append(helper.make_tensor_value_info(smoothed_name(name), onnx.TensorProto.FLOAT, None))
    del graph.node[:]
    graph.node.extend(ordered)
    used = used_names(graph)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    return made


def smoothed(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Return a copy of `model` with the plan's smoothing carried out."""
    return smooth(model, {item.name: item.factors for item in plan.smoothing})
