"""Operators of language models that read a whole text at once: their caches are empty, and no position is padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeopt.quantize.training.operators.layers import LAYERS

Attributes = Mapping[str, Any]
Three = tuple[Tensor, Tensor, Tensor]


def _skip_rms_norm(given: Attributes, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None) -> tuple[Any, ...]:
    """Return the normalized sum, and the sum as the fourth output."""
    total = x + skip if bias is None else x + skip + bias
    return F.rms_norm(total, total.shape[-1:], scale, given.get("epsilon", 1e-5)), None, None, total


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor, *, interleaved: bool) -> Tensor:
    """Return heads [..., positions, size] turned by their positions' angles [..., positions, half of what is turned]."""
    width = 2 * cosines.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    first, second = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = first * cosines - second * sines, second * cosines + first * sines
    made = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    return torch.cat([made, rest], -1)


def _rotary_embedding(given: Attributes, x: Tensor, cosines: Tensor, sines: Tensor, positions: Tensor | None = None) -> Tensor:
    """RotaryEmbedding of operator set 23: heads side by side on three axes, or on an axis of their own."""
    flat = x.ndim == 3
    heads = _apart(x, given["num_heads"]) if flat else x
    if positions is not None:
        cosines, sines = cosines[positions], sines[positions]
    turned = 2 * cosines.shape[-1]
    if given.get("rotary_embedding_dim", 0) not in {0, turned}:
        raise NotImplementedError("RotaryEmbedding whose angles are not those of rotary_embedding_dim")
    made = _rotated(heads, cosines[:, None], sines[:, None], interleaved=bool(given.get("interleaved", 0)))
    return _together(made) if flat else made


def _attention(given: Attributes, query: Tensor, key: Tensor, value: Tensor, *more: Tensor | None) -> Tensor | Three:
    """Attention of operator set 23 with an empty cache, which its keys and values become."""
    cache = [item for item in more[1:3] if item is not None]
    if any(item.numel() for item in cache):
        raise NotImplementedError("Attention with a cache that is not empty")
    made: Tensor = LAYERS["Attention"](given, query, key, value, *more[:1])
    if not cache:
        return made
    flat = query.ndim == 3
    return made, _apart(key, given["kv_num_heads"]) if flat else key, _apart(value, given["kv_num_heads"]) if flat else value


def _group_query_attention(
    given: Attributes, query: Tensor, key: Tensor | None, value: Tensor | None, *more: Tensor | None
) -> Three:
    """GroupQueryAttention: `more` has past key and value, lengths, total length, cosines and sines."""
    past, _, _, _, cosines, sines, *others = (*more, *[None] * 6)[: max(6, len(more))]
    if (past is not None and past.numel()) or any(item is not None for item in others) or given.get("softcap", 0):
        raise NotImplementedError("GroupQueryAttention with a cache that is not empty, positions, a bias, sinks or a softcap")
    counts = given["num_heads"], given["kv_num_heads"], given["kv_num_heads"]
    if key is None or value is None:
        size = query.shape[-1] // sum(counts)
        query, key, value = torch.split(query, [count * size for count in counts], -1)
    q, k, v = (_apart(item, count) for item, count in zip((query, key, value), counts, strict=True))
    length = q.shape[2]
    if given.get("do_rotary", 0) and cosines is not None and sines is not None:
        interleaved = bool(given.get("rotary_interleaved", 0))
        q, k = (_rotated(item, cosines[:length], sines[:length], interleaved=interleaved) for item in (q, k))
    wide_k, wide_v = (item.repeat_interleave(counts[0] // counts[1], 1) for item in (k, v))
    scale, window = given.get("scale") or None, given.get("local_window_size", -1)
    near = torch.ones(length, length, dtype=torch.bool).tril().triu(1 - window) if 0 <= window < length else None
    made = F.scaled_dot_product_attention(q, wide_k, wide_v, near, is_causal=near is None, scale=scale)
    return _together(made), k, v


def _apart(x: Tensor, heads: int) -> Tensor:
    """[batch, positions, heads · size] → [batch, heads, positions, size]."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _together(x: Tensor) -> Tensor:
    """[batch, heads, positions, size] → [batch, positions, heads · size]."""
    return x.transpose(1, 2).flatten(2)


DECODERS: Mapping[str, Callable[..., Any]] = {
    "Attention": _attention,
    "RotaryEmbedding": _rotary_embedding,
    "com.microsoft.GroupQueryAttention": _group_query_attention,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_rms_norm,
}
