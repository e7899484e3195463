"""Floating-point type of an export: weights and floating-point inputs are converted during the export.

The same tensors are converted as when a transformers checkpoint is loaded in that type: parameters and saved buffers, except
in modules that the model's class keeps in float32 (T5's `wo`, whose sums leave float16's range). Buffers that are computed
rather than loaded, such as rotary frequencies, keep their type. In any other module everything is converted, as by `half()`.

The caller's tensors are swapped out and back, one after another: besides the weights there is one more set in the new
type, half as large, and pages of a mapped file are returned to the system as soon as they are converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import ml_dtypes
import numpy as np
import torch

from edgeopt.batches import Array, Batch
from edgeopt.errors import ModelError
from edgeopt.export.weights import page_out

FloatType = Literal["float32", "float16", "bfloat16"]
ARRAY_TYPES: dict[str, Any] = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
LARGEST = {name: float(torch.finfo(getattr(torch, name)).max) for name in ARRAY_TYPES}
"""The largest finite number, by type."""
SMALLEST = {
    name: torch.finfo(getattr(torch, name)).smallest_normal * torch.finfo(getattr(torch, name)).eps / 2 for name in ARRAY_TYPES
}
"""What is smaller than this is rounded to 0, by type."""
TOLERANCES: dict[str, float] = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 8e-2}
"""Error relative to an output's largest magnitude that rounding alone can cause, by type."""


@contextmanager
def weights_in(module: torch.nn.Module, dtype: FloatType | None) -> Iterator[None]:
    """Convert the floating-point weights of `module` to `dtype` while the block runs (None: do not), and restore them.

    Raises:
        ModelError: a weight lies beyond the range of `dtype`, or a whole tensor is rounded to 0.
    """
    if dtype is None:
        yield
        return
    wanted = getattr(torch, dtype)
    replaced: list[tuple[torch.nn.Module, str, torch.Tensor]] = []
    try:
        for tensor, (name, places) in _convertible(module, wanted).items():
            converted = _converted(name, tensor, wanted)
            page_out(tensor.untyped_storage())
            for owner, key in places:
                replaced.append((owner, key, tensor))
                setattr(owner, key, converted)
        yield
    finally:
        for owner, key, old in reversed(replaced):
            setattr(owner, key, old)


def _convertible(
    module: torch.nn.Module, dtype: torch.dtype
) -> dict[torch.Tensor, tuple[str, list[tuple[torch.nn.Module, str]]]]:
    """Return the floating-point tensors to convert to `dtype`, each with its name and all its places (tied weights)."""
    loaded = hasattr(getattr(module, "config", None), "model_type")
    kept: set[str] = set()
    if loaded and dtype in {torch.float16, torch.bfloat16}:
        kept |= set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
        kept |= set(getattr(module, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else set()
    in_float32 = re.compile("|".join(rf"(^|\.){re.escape(part)}($|\.)" for part in sorted(kept)) or r"(?!)")
    found: dict[torch.Tensor, tuple[str, list[tuple[torch.nn.Module, str]]]] = {}
    for prefix, owner in module.named_modules():
        computed = owner._non_persistent_buffers_set if loaded else set()
        for key, tensor in (*owner._parameters.items(), *owner._buffers.items()):
            name = f"{prefix}.{key}".removeprefix(".")
            if tensor is None or not tensor.is_floating_point() or tensor.dtype == dtype:
                continue
            if key not in computed and not in_float32.search(name):
                found.setdefault(tensor, (name, []))[1].append((owner, key))
    return found


def _converted(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return `tensor` as `dtype`; in buffers, numbers below its range stand for minus infinity and become its lowest."""
    source = tensor.detach()
    parameter = isinstance(tensor, torch.nn.Parameter)
    if not parameter:
        source = source.where(source.isinf(), source.clamp(min=torch.finfo(dtype).min))
    converted = source.to(dtype)
    if not bool(converted.any()) and bool(source.any()):
        raise ModelError(
            f"the weight {name} holds no number above {float(source.abs().max()):.3g}, which {_name(dtype)} rounds to 0; "
            f"export as {wider(_name(dtype))}"
        )
    if bool((converted.isinf() & ~source.isinf()).any()):
        largest = float(source[source.isfinite()].abs().max())
        limit = torch.finfo(dtype).max
        raise ModelError(
            f"the weight {name} contains {largest:.3g}, beyond {_name(dtype)}'s largest number {limit:.5g}; "
            f"export as {wider(_name(dtype))}"
        )
    return torch.nn.Parameter(converted, requires_grad=False) if parameter else converted


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def wider(dtype: str) -> str:
    """Return the names of the types with a larger range than the half-precision type `dtype`."""
    return "bfloat16 or float32" if dtype == "float16" else "float32"


def float_type(module: torch.nn.Module) -> FloatType | None:
    """Return the type of most of the floating-point weights of `module`; None if it is none of the three."""
    counts: dict[str, int] = {}
    for weight in module.parameters():
        if weight.is_floating_point():
            counts[_name(weight.dtype)] = counts.get(_name(weight.dtype), 0) + weight.numel()
    most = max(counts, key=lambda name: counts[name], default="")
    return most if most in ARRAY_TYPES else None  # type: ignore[return-value]


def cast(batch: Batch, dtype: FloatType) -> dict[str, Array]:
    """Return `batch` with its floating-point arrays as `dtype`; finite numbers beyond its range become its extremes."""
    kind = ARRAY_TYPES[dtype]
    limit = LARGEST[dtype]

    def fitted(array: Array) -> Array:
        if not np.issubdtype(array.dtype, np.floating) or array.dtype == kind:
            return array
        return np.where(np.isfinite(array), np.clip(array, -limit, limit), array).astype(kind)

    return {name: fitted(array) for name, array in batch.items()}
