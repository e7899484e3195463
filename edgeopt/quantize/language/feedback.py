"""GPTQ for blocks of a language model's matrices: inputs not yet rounded take over the error of those that are.

As `edgeopt.quantize.algorithms.gptq` (Frantar et al., https://arxiv.org/abs/2210.17323), with two differences that matter at
4 bits: the grid of a block is found by `search` (least squares, several spreads) when the pass comes to it, and inputs are
weighed by 1 / [U]ᵢᵢ², what an error costs after those behind it have made up for it, instead of by their mean square.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from edgeopt.quantize.affine import nearest, restored
from edgeopt.quantize.algorithms.gptq import inverse_factor
from edgeopt.quantize.language.blocks import Blocked, Floats, joined, search_grid

_CHUNK = 1 << 22
"""Elements that are worked on at a time."""


def round_with_feedback(weight: Floats, inner: NDArray[np.float64], *, bits: int, block: int) -> Blocked:
    """Return `weight` [outputs, inputs] as blocks, for inputs with second moments `inner` [inputs, inputs].

    Rows are independent of each other and worked on some at a time, so that a large vocabulary needs no more memory.
    """
    factor = inverse_factor(inner)
    rows = max(1, _CHUNK // weight.shape[1])
    return joined(
        [_round(weight[start : start + rows], factor, bits=bits, block=block) for start in range(0, len(weight), rows)]
    )


def _round(weight: Floats, factor: NDArray[np.float64], *, bits: int, block: int) -> Blocked:
    outputs, inputs = weight.shape
    count, top = ceil(inputs / block), 2**bits - 1
    cost = (1 / np.square(np.diag(factor))).astype(np.float32)
    left = np.zeros((count * block, outputs), np.float32)
    left[:inputs] = weight.T
    numbers = np.zeros((count * block, outputs), np.uint8)
    scales, zeros = np.empty((count, outputs), np.float32), np.empty((count, outputs), np.uint8)
    for index in range(count):
        start, end = index * block, min((index + 1) * block, inputs)
        part = np.ascontiguousarray(left[start : start + block].T)[:, None]
        weighed = np.zeros((1, 1, block), np.float32)
        weighed[..., : end - start] = cost[start:end]
        scale, zero = (grid[:, 0, 0] for grid in search_grid(part, top, weighed))
        scales[index], zeros[index] = scale, zero
        errors = np.empty((end - start, outputs), np.float32)
        for row in range(start, end):
            rounded = nearest(left[row], scale, zero, (0, top))
            numbers[row] = rounded
            errors[row - start] = (left[row] - restored(rounded, scale, zero)) / np.float32(factor[row, row])
            left[row + 1 : end] -= factor[row, row + 1 : end, None].astype(np.float32) * errors[row - start]
        left[end:inputs] -= factor[start:end, end:].T.astype(np.float32) @ errors
    return Blocked(
        np.ascontiguousarray(numbers.T).reshape(outputs, count, block),
        np.ascontiguousarray(scales.T),
        np.ascontiguousarray(zeros.T),
        inputs,
    )
