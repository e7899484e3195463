"""The arithmetic of quantization, once: a real number x stands for the integer q, and q for x̃.

    q = clip(round(x / s) + z, low, high)          x̃ = s · (q - z)

s is the scale, z the zero point, [low, high] what the integer type holds; round is half to even, as in ONNX's QuantizeLinear
and DequantizeLinear, which compute the same. With an axis, each index along it (a channel) has a scale and a zero point of its
own. Fake quantization is x → x̃ in floating point.

Parameters from a range [a, b], which always holds zero, since padding and Relu need it exactly:

    s = (b - a) / (high - low)       z = round(low - a / s)             asymmetric
    s = 2·max(-a, b) / (high - low)  z = the middle of [low, high]      symmetric; signed types give up their lowest number

Weights of 7 bits, for kernels that add two u8·s8 products in 16 bits: [-64, 64], since 2 · 255 · 64 = 32,640 fits below 32,767.
A bias lies on the grid of the sums it is added to: s = s_x · s_w, z = 0, 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

IntegerType = Literal["int4", "uint4", "int8", "uint8", "int16", "uint16", "int32"]
Interval = tuple[float, float]

_LIMITS = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
}
_SYMMETRIC = {"int8": (-127, 127), "int16": (-(1 << 15) + 1, (1 << 15) - 1)}
_REDUCED = {
    "int4": (-4, 3),
    "uint4": (0, 7),
    "int8": (-64, 64),
    "uint8": (0, 127),
    "int16": (-(1 << 14), 1 << 14),
    "uint16": (0, (1 << 15) - 1),
}
_ROOM = 1.0001  # of the int32 a bias is given, so that its last bits do not wrap


def limits(dtype: str, *, symmetric: bool = False, reduced: bool = False) -> tuple[int, int]:
    """Return the lowest and the highest number a grid uses of an integer type; `reduced`: with one bit less."""
    table = _REDUCED if reduced else _SYMMETRIC if symmetric and dtype in _SYMMETRIC else _LIMITS
    return table[dtype]


def bits_of(dtype: str) -> int:
    """Return how many bits an integer type has."""
    low, high = _LIMITS[dtype]
    return (high - low).bit_length()


def numbers_type(dtype: str) -> np.dtype[Any]:
    """Return numpy's type of an integer type, those of four bits included."""
    four_bits: dict[str, Any] = {"int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}
    found: np.dtype[Any] = np.dtype(four_bits.get(dtype, dtype))
    return found


def nearest(values: NDArray[Any], scale: Any, zero: Any, span: tuple[Any, Any]) -> NDArray[Any]:
    """Return clip(round(x / s) + z, low, high) as floating-point numbers, in the type of `values`."""
    return np.asarray(np.clip(np.round(values / scale) + zero, *span))


def restored(numbers: NDArray[Any], scale: Any, zero: Any) -> NDArray[Any]:
    """Return s · (q - z)."""
    return np.asarray((numbers - zero) * scale)


@dataclass(frozen=True)
class Grid:
    """How many bits a grid has, and whether it lies symmetrically around zero: all that a range must be fitted to."""

    bits: int = 8
    symmetric: bool = False
    reduced: bool = False
    """One bit less, symmetric: as many steps on either side as half the bits' numbers allow."""

    @classmethod
    def of(cls, dtype: str, *, symmetric: bool, reduced: bool = False) -> Grid:
        """Return the grid of an integer type."""
        return cls(bits_of(dtype), symmetric, reduced)

    @property
    def steps(self) -> int:
        """The number of steps between the lowest and the highest level."""
        return 1 << (self.bits - 1) if self.reduced else (1 << self.bits) - (2 if self.symmetric else 1)

    def widen(self, interval: Interval) -> Interval:
        """Return the interval with zero inside it, and balanced if the grid is symmetric."""
        low, high = min(interval[0], 0.0), max(interval[1], 0.0)
        if self.symmetric:
            high = max(-low, high)
            low = -high
        return low, high

    def fake_quantize(self, values: NDArray[Any], interval: Interval) -> NDArray[Any]:
        """Return the values rounded to the grid over `interval` and back, in their own type."""
        dtype: IntegerType = "int8" if self.bits == 8 else "int16"
        if self.bits not in {8, 16}:
            raise ValueError(f"activations have 8 or 16 bits, not {self.bits}")
        return Affine.of_range(*interval, dtype, symmetric=self.symmetric).fake_quantize(values)


@dataclass(frozen=True)
class Affine:
    """Scale, zero point, type and axis: how real numbers and integers stand for each other.

    Attributes:
        scale: floating point, [] or [channels].
        zero: integers of type `dtype`, of the same shape.
        dtype: the integer type.
        axis: of the channels; None: one scale for the whole tensor.
    """

    scale: NDArray[Any]
    zero: NDArray[Any]
    dtype: IntegerType
    axis: int | None = None

    @classmethod
    def of_range(
        cls, low: Any, high: Any, dtype: IntegerType, *, symmetric: bool, reduced: bool = False, kind: Any = np.float32
    ) -> Affine:
        """Return the parameters whose grid spans [`low`, `high`] and zero.

        Args:
            low: a number, or one for each channel.
            high: likewise.
            dtype: the integer type.
            symmetric: the zero point lies in the middle of the type.
            reduced: with one bit less than the type has.
            kind: floating-point type of the scale, float32 or float16; that of the tensor.
        """
        least, most = limits(dtype, symmetric=symmetric, reduced=reduced)
        low = np.minimum(np.asarray(low, dtype=kind), 0).astype(np.float64)
        high = np.maximum(np.asarray(high, dtype=kind), 0).astype(np.float64)
        if symmetric:
            high = np.maximum(-low, high)
            low = -high
        exact = np.asarray((high - low) / (most - least))
        scale = exact.astype(kind)
        info = np.finfo(kind)
        flat = (scale < info.smallest_subnormal) if info.dtype == np.float16 else (exact < info.tiny)
        exact, scale = np.where(flat, 1.0, exact), np.where(flat, np.asarray(1, kind), scale)
        middle = np.full(scale.shape, np.round((least + most) / 2)) if symmetric else np.round(least - low / exact)
        zero = np.where(flat, 0, middle).astype(numbers_type(dtype))
        return cls(np.asarray(scale), np.asarray(zero), dtype, 0 if scale.ndim else None)

    @classmethod
    def of_values(
        cls, values: NDArray[Any], dtype: IntegerType, *, axis: int | None, symmetric: bool, reduced: bool = False
    ) -> Affine:
        """Return the parameters that hold all of `values`, with an axis those of each channel along it."""
        others = None if axis is None else tuple(index for index in range(values.ndim) if index != axis % values.ndim)
        kind = values.dtype if values.dtype == np.float16 else np.float32
        low, high = (values.min(axis=others), values.max(axis=others)) if values.size else (0.0, 0.0)
        made = cls.of_range(low, high, dtype, symmetric=symmetric, reduced=reduced, kind=kind)
        return made if axis is None else replace(made, axis=axis % values.ndim)

    @classmethod
    def of_bias(cls, given: Affine, weight: Affine) -> Affine:
        """Return the parameters of a bias that is added to sums of products of an input and a weight."""
        scale = np.asarray(given.scale * weight.scale)
        return cls(scale, np.zeros(scale.shape, dtype=np.int32), "int32", 0 if scale.ndim else None)

    def quantize(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the integers nearest to `values`."""
        wide = np.float64 if self.dtype == "int32" else np.float32
        scale, zero = self._spread(values.ndim)
        found = nearest(values.astype(wide, copy=False), scale.astype(wide), zero.astype(wide), limits(self.dtype))
        return found.astype(numbers_type(self.dtype))

    def dequantize(self, numbers: NDArray[Any], kind: Any = None) -> NDArray[Any]:
        """Return the real numbers that integers stand for, in the type of the scale, or as `kind`."""
        scale, zero = self._spread(numbers.ndim)
        wide = restored(numbers.astype(np.float64), scale.astype(np.float64), zero.astype(np.float64))
        return wide.astype(kind or self.scale.dtype)

    def fake_quantize(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return `values` rounded to the grid and back, without integers in between."""
        scale, zero = self._spread(values.ndim)
        low, high = limits(self.dtype)
        shift = zero.astype(values.dtype)
        return np.asarray(np.clip(np.round(values / scale), low - shift, high - shift) * scale, dtype=values.dtype)

    def with_room_for(self, bias: NDArray[Any], given: Affine) -> Affine:
        """Return the parameters of a weight with scales large enough for `bias` to fit 32 bits on the grid of the sums."""
        most = np.iinfo(np.int32).max
        bias = np.abs(bias)
        largest = bias if self.scale.ndim else bias.max(initial=0.0).astype(np.float64)
        wanted = _ROOM * largest / np.float64(most)
        found = float(given.scale) * self.scale.astype(np.float64)
        short = (found < wanted) & (found > 0)
        ratio = np.where(short, wanted / np.where(found > 0, found, 1), 1.0)
        scale = (self.scale.astype(np.float64) * ratio).astype(self.scale.dtype)
        below = short & (scale.astype(np.float64) < self.scale.astype(np.float64) * ratio) & (scale.dtype == np.float16)
        scale = np.where(below, np.nextafter(scale, np.asarray(np.inf, scale.dtype)), scale)
        return replace(self, scale=np.where(short, scale, self.scale))

    def _spread(self, rank: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return scale and zero point in a shape that goes with a tensor of `rank` axes."""
        if self.axis is None:
            return self.scale, self.zero
        shape = [1] * rank
        shape[self.axis] = -1
        return self.scale.reshape(shape), self.zero.reshape(shape)
