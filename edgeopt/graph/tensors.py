"""Tensors computed when they are read or written, so that a merged or transposed weight holds no memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, BinaryIO

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array

SLICE_BYTES = 16 * 2**20


class Rows(ir.LazyTensor):
    """The tensors `parts` side by side along their last axis, computed in slices of rows when they are read or written."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[ir.TensorProtocol], *, name: str | None = None) -> None:
        shapes = [part.shape.numpy() for part in parts]
        shape = ir.Shape([*shapes[0][:-1], *([sum(sizes[-1] for sizes in shapes)] if shapes[0] else [])])
        super().__init__(self._whole, parts[0].dtype, shape, name=name)
        self._parts = tuple(parts)

    def _whole(self) -> ir.TensorProtocol:
        return ir.tensor(self._joined([part.numpy() for part in self._parts]), dtype=self.dtype, name=self.name)

    @staticmethod
    def _joined(arrays: Sequence[Array]) -> Array:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)

    def tofile(self, file: IO[bytes]) -> None:
        """Write the elements in row-major order, little endian, some rows at a time."""
        arrays = [part.numpy() for part in self._parts]
        if arrays[0].ndim == 0:
            file.write(self.tobytes())
            return
        rows = max(1, SLICE_BYTES // max(1, self.nbytes // max(1, len(arrays[0]))))
        for start in range(0, len(arrays[0]), rows):
            part = self._joined([array[start : start + rows] for array in arrays])
            file.write(np.ascontiguousarray(part).view(np.uint8).data)


def derived(tensor: ir.TensorProtocol, view: Callable[[Array], Array]) -> ir.LazyTensor:
    """Return `view` of `tensor` (a transposition, a slice) as a tensor that holds no memory of its own."""
    seen = view(tensor.numpy())
    return ir.LazyTensor(
        lambda: ir.tensor(view(tensor.numpy()), dtype=tensor.dtype), dtype=tensor.dtype, shape=ir.Shape(seen.shape)
    )


def write_tensor(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    """Write the elements in row-major order, little endian, without a copy of more than a few megabytes."""
    if tensor.nbytes > SLICE_BYTES and tensor.dtype.bitwidth >= 8 and not isinstance(tensor, Rows):
        Rows([tensor], name=tensor.name).tofile(file)
    elif isinstance(tensor, ir.LazyTensor | ir.Tensor | ir.PackedTensor):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())
