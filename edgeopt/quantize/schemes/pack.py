"""Blocks of integers in the form onnxruntime's MatMulNBits reads.

numbers      uint8 [n, blocks, block · bits / 8]; of two 4-bit numbers in a byte the first is in the lower half
scales       float32 [n, blocks]
zero points  uint8 [n, blocks · bits / 8, rounded up]; left out if all are in the middle of the range
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgeopt.quantize.algorithms.gptq import Blocks


def matmul_nbits(
    node: onnx.NodeProto, blocks: Blocks, *, bits: int, block: int, symmetric: bool
) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """Return a MatMulNBits in place of the MatMul `node`, and its constants, named after the node's result."""
    size, width = blocks.numbers.shape
    count = ceil(size / block)
    padded = np.pad(blocks.numbers, ((0, count * block - size), (0, 0)), constant_values=2 ** (bits - 1))
    name = node.output[0]
    arrays: dict[str, NDArray[Any]] = {
        f"{name}_blocks": packed(padded.T.reshape(width, count, block), bits),
        f"{name}_scales": np.ascontiguousarray(blocks.scales.T),
    }
    if not symmetric:
        arrays[f"{name}_zeros"] = packed(np.ascontiguousarray(blocks.zeros.T), bits)
    made = helper.make_node(
        "MatMulNBits",
        [node.input[0], *arrays],
        list(node.output),
        node.name,
        domain="com.microsoft",
        K=size,
        N=width,
        bits=bits,
        block_size=block,
    )
    return made, [numpy_helper.from_array(array, key) for key, array in arrays.items()]


def packed(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Put two 4-bit numbers of the last axis into each byte; 8-bit numbers stay as they are."""
    if bits == 8:
        return np.ascontiguousarray(numbers)
    if numbers.shape[-1] % 2:
        numbers = np.concatenate([numbers, np.zeros((*numbers.shape[:-1], 1), dtype=np.uint8)], axis=-1)
    return np.ascontiguousarray(numbers[..., ::2] | numbers[..., 1::2] << 4)
