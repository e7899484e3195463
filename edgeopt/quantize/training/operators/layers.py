"""Operators with weights, normalizations, attention, pooling and resizing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = Mapping[str, Any]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _padded(given: Attributes, x: Tensor, kernel: Sequence[int], *, value: float = 0.0) -> tuple[Tensor, list[int]]:
    """Return the input, padded where the two sides of an axis differ, and the padding that is left to the operator."""
    axes = len(kernel)
    strides, dilations = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
    pads = list(given.get("pads", [0] * 2 * axes))
    automatic = _text(given.get("auto_pad", "NOTSET"))
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        for place in range(axes):
            size = x.shape[2 + place]
            reach = dilations[place] * (kernel[place] - 1) + 1
            total = max((math.ceil(size / strides[place]) - 1) * strides[place] + reach - size, 0)
            first = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            pads[place], pads[place + axes] = first, total - first
    begin, end = pads[:axes], pads[axes:]
    if begin == end and all(2 * amount <= size for amount, size in zip(begin, kernel, strict=True)):
        return x, begin
    flat = [amount for place in reversed(range(axes)) for amount in (begin[place], end[place])]
    return F.pad(x, flat, value=value), [0] * axes


def _conv(given: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    x, padding = _padded(given, x, weight.shape[2:])
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    strides, dilations = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
    return function(x, weight, bias, list(strides), padding, list(dilations), given.get("group", 1))


def _conv_transpose(given: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    pads = list(given.get("pads", [0] * 2 * axes))
    automatic = _text(given.get("auto_pad", "NOTSET")) not in {"NOTSET", "VALID"}
    if pads[:axes] != pads[axes:] or given.get("output_shape") is not None or automatic:
        raise NotImplementedError("ConvTranspose with one-sided pads, auto_pad or an output_shape")
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    strides, dilations = list(given.get("strides", [1] * axes)), list(given.get("dilations", [1] * axes))
    more = list(given.get("output_padding", [0] * axes))
    return function(x, weight, bias, strides, pads[:axes], more, given.get("group", 1), dilations)


def _gemm(given: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    left = a.t() if given.get("transA", 0) else a
    right = b.t() if given.get("transB", 0) else b
    alpha, beta = given.get("alpha", 1.0), given.get("beta", 1.0)
    if c is not None and alpha == beta == 1.0:
        return torch.addmm(c, left, right)
    product = left @ right if alpha == 1.0 else alpha * (left @ right)
    return product if c is None else product + beta * c


def _matmul(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


def _batch_norm(given: Attributes, x: Tensor, *values: Tensor) -> Tensor:
    """Return the input normalized by the mean and variance that were learned: scale, bias, mean, variance."""
    if given.get("training_mode", 0):
        raise NotImplementedError("BatchNormalization in training mode")
    scale, bias, mean, variance = values
    return F.batch_norm(x, mean, variance, scale, bias, eps=given.get("epsilon", 1e-5))


def _instance_norm(given: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=given.get("epsilon", 1e-5))


def _group_norm(given: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.group_norm(x, given["num_groups"], scale, bias, given.get("epsilon", 1e-5))


def _layer_norm(given: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    axis = given.get("axis", -1) % x.ndim
    return F.layer_norm(x, x.shape[axis:], scale.expand(x.shape[axis:]), bias, given.get("epsilon", 1e-5))


def _rms_norm(given: Attributes, x: Tensor, scale: Tensor) -> Tensor:
    axis = given.get("axis", -1) % x.ndim
    return F.rms_norm(x, x.shape[axis:], scale.expand(x.shape[axis:]), given.get("epsilon", 1e-5))


def _attention(given: Attributes, query: Tensor, key: Tensor, value: Tensor, *more: Tensor | None) -> Tensor:
    """Attention of operator set 23 without a cache: heads side by side on three axes, or on an axis of their own."""
    mask = more[0] if more else None
    windows = any(given.get(name, -1) >= 0 for name in ("left_window_size", "right_window_size", "local_window_size"))
    if any(item is not None for item in more[1:]) or given.get("softcap", 0) or windows:
        raise NotImplementedError("Attention with a cache, a softcap or a window")
    flat = query.ndim == 3
    heads = given.get("q_num_heads", 0), given.get("kv_num_heads", 0)
    if flat:
        query, key, value = (
            item.reshape(*item.shape[:2], count, -1).transpose(1, 2)
            for item, count in ((query, heads[0]), (key, heads[1]), (value, heads[1]))
        )
    causal = bool(given.get("is_causal", 0))
    if causal and mask is not None:
        later = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).triu(1)
        mask = (mask & ~later) if mask.dtype == torch.bool else mask.masked_fill(later, -math.inf)
        causal = False
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    made = F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=given.get("scale"))
    return made.transpose(1, 2).flatten(2) if flat else made


def _window(given: Attributes) -> tuple[list[int], list[int], bool]:
    kernel = list(given["kernel_shape"])
    return kernel, list(given.get("strides", [1] * len(kernel))), bool(given.get("ceil_mode", 0))


def _max_pool(given: Attributes, x: Tensor) -> Tensor:
    kernel, strides, ceil = _window(given)
    x, padding = _padded(given, x, kernel, value=-math.inf)
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    made: Tensor = function(x, kernel, strides, padding, list(given.get("dilations", [1] * len(kernel))), ceil)
    return made


def _average_pool(given: Attributes, x: Tensor) -> Tensor:
    kernel, strides, ceil = _window(given)
    counted = bool(given.get("count_include_pad", 0))
    if any(size != 1 for size in given.get("dilations", ())):
        raise NotImplementedError("AveragePool with dilations")
    padded, padding = _padded(given, x, kernel)
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    made: Tensor = function(padded, kernel, strides, padding, ceil, count_include_pad=counted)
    if padded is x or counted:
        return made
    shares, _ = _padded(given, torch.ones_like(x[:1, :1]), kernel)
    return made / function(shares, kernel, strides, padding, ceil)


def _global_average(_: Attributes, x: Tensor) -> Tensor:
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def _global_max(_: Attributes, x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def _resize(
    given: Attributes, x: Tensor, _region: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Resize of images: nearest by whole factors, and linear to whole sizes."""
    mode, pixels = _text(given.get("mode", "nearest")), _text(given.get("coordinate_transformation_mode", "half_pixel"))
    stretched = _text(given.get("keep_aspect_ratio_policy", "stretch")) == "stretch"
    if given.get("antialias", 0) or given.get("axes") is not None or not stretched:
        raise NotImplementedError("Resize with antialiasing, chosen axes or a kept aspect ratio")
    spatial = x.ndim - 2
    if sizes is not None and sizes.numel():
        wanted = [int(size) for size in sizes.tolist()][-spatial:]
    elif scales is not None:
        exact = [size * scale for size, scale in zip(x.shape[2:], scales.tolist()[-spatial:], strict=True)]
        wanted = [int(size) for size in exact]
        if wanted != exact:
            raise NotImplementedError("Resize by scales that do not give whole sizes")
    else:
        raise NotImplementedError("Resize without scales and sizes")
    if mode == "nearest":
        factors = [size / old for size, old in zip(wanted, x.shape[2:], strict=True)]
        if any(factor % 1 for factor in factors) or not _repeats(pixels, _text(given.get("nearest_mode", "")), max(factors)):
            raise NotImplementedError("Resize to the nearest pixel where that does not repeat each a whole number of times")
        return F.interpolate(x, wanted, mode="nearest")
    if pixels == "pytorch_half_pixel" and min(wanted) > 1:
        pixels = "half_pixel"
    if mode == "linear" and spatial == 2 and pixels in {"half_pixel", "align_corners"}:
        return F.interpolate(x, wanted, mode="bilinear", align_corners=pixels == "align_corners")
    raise NotImplementedError(f"Resize with mode {mode} and {pixels}")


def _repeats(pixels: str, nearest: str, factor: float) -> bool:
    """Return whether resizing to the nearest pixel repeats each pixel `factor` times."""
    if pixels in {"half_pixel", "pytorch_half_pixel"}:
        return nearest in {"", "round_prefer_floor", "round_prefer_ceil"}
    return pixels == "asymmetric" and (nearest == "floor" or (nearest in {"", "round_prefer_floor"} and factor <= 2))


def _dropout(_: Attributes, x: Tensor, __: Tensor | None = None, training: Tensor | None = None) -> tuple[Tensor, Tensor]:
    if training is not None and bool(training):
        raise NotImplementedError("Dropout in training mode")
    return x, torch.ones_like(x, dtype=torch.bool)


LAYERS: Mapping[str, Callable[..., Any]] = {
    "Attention": _attention,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Dropout": _dropout,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "RMSNormalization": _rms_norm,
    "Resize": _resize,
}
