"""Bias correction: what rounding the weights does to a layer's mean output is taken off its bias.

With ΔW = W_q - W the output of channel o is off by Σ ΔW[o, j]·x_j, which on average is Σ ΔW[o, j]·E[x_j] (Nagel et al.,
https://arxiv.org/abs/1906.04721, section 4.2, equation 17, with E[x] measured instead of derived). For a convolution ΔW is
summed over the kernel; the border, where the padding's zeros enter, is neglected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgeopt.graph.index import GraphIndex, attribute, replace_constant
from edgeopt.quantize.affine import Affine, IntegerType

Floats = NDArray[np.float64]


def correct_biases(model: onnx.ModelProto, quantized: onnx.ModelProto, means: Mapping[str, Floats]) -> int:
    """Correct the biases of `quantized` in place, for its weights as rounded; return how many.

    Args:
        model: prepared, floating point; it is not changed.
        quantized: its quantized form, biases as int32 or float.
        means: the mean of each input channel, by tensor.
    """
    index, there = GraphIndex(model.graph), GraphIndex(quantized.graph)
    nodes = {node.name: node for node in quantized.graph.node}
    count = 0
    for node, weight, rounded in weighted_nodes(model, quantized):
        if node.op_type not in {"Conv", "Gemm"}:
            continue
        bias = node.input[2] if len(node.input) > 2 else ""
        if bias in index.initializers and len(index.consumers[bias]) == 1 and node.input[0] in means:
            shift = _mean_shift(node, rounded - weight, means[node.input[0]])
            store_bias(there, nodes[node.name].input[2], numpy_helper.to_array(index.initializers[bias]) - shift)
            count += 1
    return count


def store_bias(index: GraphIndex, name: str, bias: Floats) -> None:
    """Give the bias that a node of a quantized graph reads as `name` other values, on the int32 grid it has, if it has one."""
    maker = index.producer.get(name)
    if maker is None:
        replace_constant(index.graph, name, bias)
        return
    replace_constant(index.graph, maker.input[0], affine_of(maker, index).quantize(bias))


def weighted_nodes(
    model: onnx.ModelProto, quantized: onnx.ModelProto
) -> Iterator[tuple[onnx.NodeProto, NDArray[Any], NDArray[Any]]]:
    """Yield the Conv, Gemm and MatMul nodes of `model` with their weights, exact and as rounded in `quantized`."""
    here, there = GraphIndex(model.graph), GraphIndex(quantized.graph)
    for node, maker in weight_makers(model, quantized):
        exact = here.constant(node.input[1])
        if exact is not None:
            yield node, exact.astype(np.float64), dequantized(maker, there)


def weight_makers(model: onnx.ModelProto, quantized: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Yield the nodes of `model` with constant weights, each with the DequantizeLinear of `quantized` that makes these."""
    there = GraphIndex(quantized.graph)
    rounded_nodes = {node.name: node for node in quantized.graph.node}
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm", "MatMul"} or node.name not in rounded_nodes:
            continue
        maker = there.producer.get(rounded_nodes[node.name].input[1])
        if maker is not None and maker.op_type == "DequantizeLinear" and node.input[1] in constants:
            yield node, maker


def dequantized(node: onnx.NodeProto, index: GraphIndex) -> Floats:
    """Return the values that a DequantizeLinear makes of constants."""
    return affine_of(node, index).dequantize(np.asarray(index.constant(node.input[0])), np.float64)


def affine_of(node: onnx.NodeProto, index: GraphIndex) -> Affine:
    """Return the parameters of a QuantizeLinear or DequantizeLinear whose scale and zero point are constants."""
    scale, zero = (np.asarray(index.constant(name)) for name in node.input[1:3])
    dtype = cast("IntegerType", zero.dtype.name)
    if scale.size == 1:
        return Affine(scale.reshape(()), zero.reshape(()), dtype)
    return Affine(scale, zero, dtype, attribute(node, "axis", 1))


def _mean_shift(node: onnx.NodeProto, change: Floats, mean: Floats) -> Floats:
    """Return Σ ΔW[o, j]·E[x_j] for each output channel o."""
    if node.op_type == "Gemm":
        return np.asarray((change if attribute(node, "transB", 0) else change.T) @ mean)
    groups = attribute(node, "group", 1)
    kernel = change.reshape(groups, change.shape[0] // groups, change.shape[1], -1).sum(axis=3)  # [groups, out, in]
    return np.asarray(np.einsum("goi,gi->go", kernel, mean.reshape(groups, -1)).reshape(-1))
