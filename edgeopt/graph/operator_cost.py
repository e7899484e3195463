"""Cost of one executed operator: MACs, bytes, and the arithmetic that it really used.

Idea. onnxruntime's profile lists the executed operators, after all fusions, with the shapes and types of every call. Costs read
from there are those of what ran, not of what was asked for: a "quantized" layer that fell back to float shows up as float.

    MatMul, Gemm and their fusions   |out| × K, where K is what A has per output row
    Conv and its fusions             |out| × weights per output channel; transposed: |in| × weights per input channel
    Attention                        |Q| × S + |out| × S, with S the length of K and V, the past's too
    LSTM, GRU, RNN                   steps × batch × (|W| + |R|)

MatMulNBits has weights in blocks of 2 to 8 bits, which says nothing of its arithmetic: with accuracy_level 4 activations are
rounded, too, and products are of integers; with other levels weights are widened to floats first. The profile does not tell
the level, the model file does.

Everything else counts as 0: elementwise work is bounded by its bytes. `edgeopt.graph.macs` counts the same from the
model file before any fusion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Literal

import onnx_ir as ir

from edgeopt.graph.executed import Executed
from edgeopt.graph.integer_operators import GIVE_FLOATS
from edgeopt.graph.macs import node_name
from edgeopt.graph.matching import attribute

_RENAMED = re.compile(r"(_token_\d+|_nchwc|_nhwc)+$")
"""Suffixes that onnxruntime's layout transformers append to a node's name."""

_INTEGER_LEVEL = _FUSED_LEVEL = 4

Shape = Sequence[int]
Kind = Literal["int8", "fp16", "bf16", "fp32", "fp64"]
_Counter = Callable[[list[Shape], Shape], int]


@dataclass(frozen=True)
class Cost:
    """MACs, bytes read and written, and the arithmetic of one call; `kind` is None where there are no MACs."""

    macs: int
    bytes: int
    kind: Kind | None


def cost(node: Executed, planned: Mapping[str, int] = MappingProxyType({}), levels: Mapping[str, int] | None = None) -> Cost:
    """Return the cost of one call of `node`.

    Args:
        node: as a profile shows it.
        planned: MACs by node name from the model file, for kernels (LSTM, ConvTranspose, QLinearConv) that repack their
            weights, which the profile then leaves out.
        levels: the accuracy_level of MatMulNBits nodes by name (`accuracy_levels`); one that is not in the file was fused by
            onnxruntime, which gives it level 4. None: the file is not known, and floats are assumed.
    """
    counter = _COUNTERS.get(node.op)
    inputs: list[Shape] = [shape for _, shape in node.inputs]
    outputs = [shape for _, shape in node.outputs]
    if counter is None or not inputs or not outputs:
        return Cost(0, node.bytes, None)
    try:
        macs = counter(inputs, outputs[0])
    except (IndexError, ValueError, ZeroDivisionError):
        macs = planned.get(source_name(node.name), 0)
    return Cost(macs, node.bytes, _kind(node, levels) if macs else None)


def source_name(name: str) -> str:
    """Return the name that a node had in the model file before onnxruntime moved it to another layout."""
    return _RENAMED.sub("", name)


def accuracy_levels(model: ir.Model) -> dict[str, int]:
    """Return the accuracy_level of each MatMulNBits node of the main graph by name; 0 where it is not set."""
    nodes = [node for node in model.graph if node.op_type == "MatMulNBits"]
    return {node_name(node): attribute(node, "accuracy_level", 0) for node in nodes}


def _kind(node: Executed, levels: Mapping[str, int] | None) -> Kind:
    op, dtype = node.op, node.inputs[0][0]
    if op in GIVE_FLOATS or dtype in ("uint8", "int8"):
        return "int8"
    if op == "MatMulNBits" and levels is not None and levels.get(source_name(node.name), _FUSED_LEVEL) == _INTEGER_LEVEL:
        return "int8"
    kinds: Mapping[str, Kind] = {"float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
    return kinds.get(dtype, "fp32")


def _tensors(inputs: list[Shape]) -> list[Shape]:
    """Drop scales, zero points and biases: factors of a product have at least two axes."""
    return [shape for shape in inputs if len(shape) >= 2]


def _matmul(inputs: list[Shape], out: Shape) -> int:
    a = inputs[0]
    rows = out[-2] if len(out) > 1 and len(a) > 1 else 1
    return prod(out) * prod(a[-2:]) // rows


def _conv(inputs: list[Shape], out: Shape) -> int:
    return prod(out) * prod(_tensors(inputs)[1][1:])


def _conv_transpose(inputs: list[Shape], out: Shape) -> int:  # noqa: ARG001
    image, weights = _tensors(inputs)[:2]
    return prod(image) * prod(weights[1:])


def _attention(inputs: list[Shape], out: Shape) -> int:
    q, k = _tensors(inputs)[:2]
    if len(k) == 2:  # com.microsoft's Attention: [batch, length, hidden] and the weights of all three projections
        return prod(q) * k[1] + 2 * prod(out) * q[1]
    cache = inputs[-2:] if len(inputs) >= 5 else []  # past keys and values, after the mask if there is one
    length = k[-2] + (cache[0][2] if cache and all(len(past) == 4 for past in cache) else 0)
    return (prod(q) + prod(out)) * length


def _recurrent(inputs: list[Shape], out: Shape) -> int:  # noqa: ARG001
    x, w, r = inputs[:3]
    return x[0] * x[1] * (prod(w) + prod(r))


_COUNTERS: Mapping[str, _Counter] = {
    **dict.fromkeys(
        ["MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm"],
        _matmul,
    ),
    **dict.fromkeys(["DynamicQuantizeMatMul", "MatMulNBits", "MatMulBnb4", "FusedMatMulActivation"], _matmul),
    **dict.fromkeys(["Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger", "NhwcConv"], _conv),
    **dict.fromkeys(["ConvTranspose", "QLinearConvTranspose"], _conv_transpose),
    **dict.fromkeys(["Attention", "MultiHeadAttention", "QAttention"], _attention),
    **dict.fromkeys(["LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"], _recurrent),
}

CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "ReorderInput", "ReorderOutput"}
)
"""Operators that only change type or layout."""
