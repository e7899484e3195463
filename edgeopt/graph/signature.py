"""The inputs and outputs of an ONNX model, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorSpec:
    """A model input or output: `dtype` is numpy's name, each axis of `shape` a size or the axis' name ("?" if it has none).

    `ranked` is false where the file does not even say how many axes there are; `shape` is then empty.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    ranked: bool = True

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether an array of this shape is one that the tensor can hold."""
        return not self.ranked or fits(shape, self.shape)

    @property
    def is_array(self) -> bool:
        """Whether numpy itself has the type: no sequence, and none of bfloat16, float8 and the types of 4 bits."""
        import numpy as np

        try:
            return np.dtype(self.dtype).isbuiltin == 1
        except TypeError:
            return False

    def __str__(self) -> str:
        """Return the shape as messages write it."""
        return f"[{', '.join(map(str, self.shape))}]" if self.ranked else "any number of axes"


def fits(shape: Sequence[int], wanted: Sequence[int | str]) -> bool:
    """Return whether sizes agree with axes that are sizes or names."""
    return len(shape) == len(wanted) and all(
        isinstance(want, str) or got == want for got, want in zip(shape, wanted, strict=True)
    )


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
