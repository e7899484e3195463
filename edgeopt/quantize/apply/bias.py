"""Bias correction: the mean error that rounding the weights causes in a layer's output is subtracted from its bias.

With ΔW = W_q - W the output of channel o is off by Σ ΔW[o, j]·x_j, which on average is Σ ΔW[o, j]·E[x_j] (Nagel et al.,
https://arxiv.org/abs/1906.04721, section 4.2, equation 17, with E[x] measured instead of derived). For a convolution ΔW is
summed over the kernel; the border, where the padding's zeros enter, is neglected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import replace_constant
from edgeopt.graph.matching import array, attribute, constant, is_standard, name_of, named_nodes, produced_by
from edgeopt.quantize.affine import Affine, IntegerType
from edgeopt.quantize.plan.operands import WEIGHTED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RoundedLayer:
    """A layer of a floating-point model, the same one after quantization, and the DequantizeLinear of its weight there."""

    node: ir.Node
    there: ir.Node
    dequantize: ir.Node

    @property
    def weight(self) -> Floats:
        """The weight before rounding."""
        return np.asarray(array(self.node.inputs[1]), dtype=np.float64)

    @property
    def rounded(self) -> Floats:
        """The weight after rounding."""
        return dequantized(self.dequantize)


def correct_biases(model: ir.Model, quantized: ir.Model, means: Mapping[str, Floats]) -> int:
    """Correct the biases of `quantized` in place, for its weights as rounded; return how many.

    Args:
        model: prepared, floating point; it is not changed.
        quantized: its quantized form, biases as int32 or float.
        means: the mean of each input channel, by tensor.
    """
    count = 0
    for layer in rounded_layers(model, quantized):
        node = layer.node
        bias = node.inputs[2] if node.op_type in {"Conv", "Gemm"} and len(node.inputs) > 2 else None
        values, mean = array(bias), means.get(name_of(node.inputs[0]))
        if bias is None or values is None or mean is None or len(bias.consumers()) != 1:
            continue
        shift = _mean_shift(node, layer.rounded - layer.weight, mean)
        store_bias(layer.there.inputs[2], (_beta(node) * values - shift) / _beta(layer.there))
        count += 1
    return count


def _beta(node: ir.Node) -> float:
    """Return the factor of a Gemm's bias: integer biases hold it, so that it is 1 in the quantized graph."""
    return float(attribute(node, "beta", 1.0))


def store_bias(value: ir.Value | None, bias: Floats) -> None:
    """Give the bias `value` of a quantized graph other values, on the int32 grid it has, if it has one."""
    dequantize = value.producer() if value is not None else None
    if dequantize is None:
        replace_constant(cast("ir.Value", value), bias)
        return
    replace_constant(cast("ir.Value", dequantize.inputs[0]), affine_of(dequantize).quantize(bias))


def rounded_layers(model: ir.Model, quantized: ir.Model) -> Iterator[RoundedLayer]:
    """Yield the layers of `model` with constant weights that are rounded in `quantized`."""
    there = named_nodes(quantized.graph)
    for node in model.graph:
        if not is_standard(node, *WEIGHTED) or node.name not in there or constant(node.inputs[1]) is None:
            continue
        dequantize = produced_by(there[node.name].inputs[1], "DequantizeLinear")
        if dequantize is not None:
            yield RoundedLayer(node, there[node.name], dequantize)


def dequantized(node: ir.Node) -> Floats:
    """Return the values that a DequantizeLinear makes of constants."""
    return affine_of(node).dequantize(np.asarray(array(node.inputs[0])), np.float64)


def affine_of(node: ir.Node) -> Affine:
    """Return the parameters of a QuantizeLinear or DequantizeLinear whose scale and zero point are constants."""
    scale, zero = (np.asarray(array(value)) for value in node.inputs[1:3])
    dtype = cast("IntegerType", zero.dtype.name)
    if scale.size == 1:
        return Affine(scale.reshape(()), zero.reshape(()), dtype)
    return Affine(scale, zero, dtype, attribute(node, "axis", 1))


def _mean_shift(node: ir.Node, change: Floats, mean: Floats) -> Floats:
    """Return Σ ΔW[o, j]·E[x_j] for each output channel o."""
    if node.op_type == "Gemm":
        return np.asarray((change if attribute(node, "transB", 0) else change.T) @ mean)
    groups = attribute(node, "group", 1)
    kernel = change.reshape(groups, change.shape[0] // groups, change.shape[1], -1).sum(axis=3)  # [groups, out, in]
    return np.asarray(np.einsum("goi,gi->go", kernel, mean.reshape(groups, -1)).reshape(-1))
