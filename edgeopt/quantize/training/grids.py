"""Fake quantization with gradients: the arithmetic of `edgeopt.quantize.affine` in PyTorch, scales learned (LSQ).

    v = x / s        x̃ = s · clip(round(v), n, p)        n = low - z, p = high - z, round half to even

Gradients, with the straight-through estimator for `round` (Esser et al., https://arxiv.org/abs/1902.08153, equations 3 and 5):

    ∂x̃/∂x = 1 inside [n, p], else 0        ∂x̃/∂s = round(v) - v inside, n below, p above

times g = 1 / √(N · p) for s, with N the number of elements of a sample that share s. A scale is stored as s = s₀ · r, r = 1 at
the start, so that one learning rate fits all scales; r stays above a floor. Zero points stay as calibration chose them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeopt.quantize.affine import Affine, IntegerType, limits

_FLOOR = 0.05  # of the scale at the start


class Grid(nn.Module):
    """How one tensor is rounded, or several with the same scale; the scale is learned."""

    def __init__(self, affine: Affine, *, symmetric: bool = False, reduced: bool = False) -> None:
        super().__init__()
        self.dtype: IntegerType = affine.dtype
        self.axis = affine.axis
        low, high = limits(affine.dtype, symmetric=symmetric, reduced=reduced)
        self.zero = affine.zero
        start = torch.from_numpy(np.array(affine.scale, dtype=np.float32))
        zero = torch.from_numpy(np.array(affine.zero, dtype=np.float32))
        self.start: Tensor
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("start", start)
        self.register_buffer("low", low - zero)
        self.register_buffer("high", high - zero)
        self.ratio = nn.Parameter(torch.ones_like(start))

    @property
    def scale(self) -> Tensor:
        """The scale as it is now, [] or [channels]."""
        return self.start * self.ratio.clamp(min=_FLOOR)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` rounded to the grid."""
        per_sample = x.numel() / max(x.shape[0], 1) if x.ndim and self.axis is None else x.numel() / self.start.numel()
        highest = float(self.high.abs().max().clamp(min=1))
        apply: Callable[..., Tensor] = _Rounding.apply
        return apply(x, self.scale, self.low, self.high, self.axis, (per_sample * highest) ** -0.5)

    def affine(self) -> Affine:
        """Return the parameters, to write integers with."""
        return Affine(self.scale.detach().numpy().copy(), self.zero, self.dtype, self.axis)


class _Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor, axis: int | None, factor: float) -> Tensor:  # noqa: PLR0917
        spread, low, high = (_along(item, x.ndim, axis) for item in (scale, low, high))
        rounded = (x / spread).round_().clamp_(low, high).mul_(spread)
        ctx.save_for_backward(x, rounded, scale, low * spread, high * spread)
        ctx.axis, ctx.factor = axis, factor
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With s·∂x̃/∂s = x̃ - x inside and x̃ outside: ∂L/∂s = (Σ g·x̃ - Σ_inside g·x) / s."""
        (gradient,) = gradients
        x, rounded, scale, low, high = ctx.saved_tensors
        to_x = gradient * ((x >= low) & (x <= high))
        to_scale = None
        if ctx.needs_input_grad[1]:
            to_scale = (_dot(gradient, rounded, ctx.axis) - _dot(to_x, x, ctx.axis)) / scale * ctx.factor
        return to_x, to_scale, None, None, None, None


class Bias(nn.Module):
    """A bias on the grid of the sums that it is added to: s = s_x · s_w, 32 bits. Its rounding has no gradient of its own."""

    def __init__(self, values: np.ndarray[Any, Any], sums: Sequence[Grid]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.from_numpy(np.array(values, dtype=np.float32)))
        self._sums = tuple(sums)  # in a tuple, since the grids belong to others

    def scale(self) -> Tensor | None:
        """Return the scale of the sums, [] or [channels]; None where one of the grids is not known."""
        if len(self._sums) != 2:
            return None
        return (self._sums[0].scale * self._sums[1].scale).detach()

    def forward(self) -> Tensor:
        """Return the rounded bias."""
        scale = self.scale()
        if scale is None:
            return self.values
        if scale.ndim and scale.numel() != self.values.shape[-1]:
            scale = scale.repeat(self.values.shape[-1] // scale.numel())  # a grouped ConvTranspose: channels share scales
        wide = scale.double()
        rounded = torch.round(self.values.detach().double() / wide) * wide
        return self.values + (rounded.float() - self.values.detach())


def _along(values: Tensor, rank: int, axis: int | None) -> Tensor:
    """Return values of each channel in a shape that goes with a tensor of `rank` axes."""
    if axis is None or not values.ndim:
        return values
    return values.reshape([-1 if place == axis else 1 for place in range(rank)])


def _dot(a: Tensor, b: Tensor, axis: int | None) -> Tensor:
    """Return Σ a·b, with an axis that of each index along it."""
    if axis is None:
        return torch.dot(a.reshape(-1), b.reshape(-1))
    return (a * b).sum(dim=[place for place in range(a.ndim) if place != axis])
