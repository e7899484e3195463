"""Blocks of integers in the form onnxruntime's MatMulNBits reads.

numbers      uint8 [n, blocks, block · bits / 8]; of two 4-bit numbers in a byte the first is in the lower half
scales       float32 [n, blocks]
zero points  uint8 [n, blocks · bits / 8, rounded up]; left out if all are in the middle of the range
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.editing import add_initializer
from edgeopt.graph.matching import name_of
from edgeopt.quantize.algorithms.gptq import Blocks


def pack_product(graph: ir.Graph, node: ir.Node, blocks: Blocks, *, bits: int, block: int, symmetric: bool) -> None:
    """Make the MatMul `node` a MatMulNBits, with constants that are named after its result."""
    size, width = blocks.numbers.shape
    count = ceil(size / block)
    padded = np.pad(blocks.numbers, ((0, count * block - size), (0, 0)), constant_values=2 ** (bits - 1))
    name = name_of(node.outputs[0])
    arrays: dict[str, NDArray[Any]] = {
        f"{name}_blocks": packed(padded.T.reshape(width, count, block), bits),
        f"{name}_scales": np.ascontiguousarray(blocks.scales.T),
    }
    if not symmetric:
        arrays[f"{name}_zeros"] = packed(np.ascontiguousarray(blocks.zeros.T), bits)
    values = [add_initializer(graph, key, array) for key, array in arrays.items()]
    node.domain, node.op_type = "com.microsoft", "MatMulNBits"
    node.resize_inputs(1 + len(values))
    for position, value in enumerate(values, start=1):
        node.replace_input_with(position, value)
    for key, number in {"K": size, "N": width, "bits": bits, "block_size": block}.items():
        node.attributes[key] = ir.AttrInt64(key, number)


def packed(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Put two 4-bit numbers of the last axis into each byte; 8-bit numbers stay as they are."""
    if bits == 8:
        return np.ascontiguousarray(numbers)
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros((*numbers.shape[:-1], 1), dtype=np.uint8)], axis=-1)
    return np.ascontiguousarray(numbers[..., ::2] | numbers[..., 1::2] << 4)
