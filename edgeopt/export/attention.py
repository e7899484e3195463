"""Attention and masks of transformers models in the form that the exported graph needs.

transformers looks up two functions by the name of the attention implementation: the attention itself and the one for its mask.
During an export both are replaced here:

- fused: `scaled_dot_product_attention`, which torch's exporter turns into one ONNX `Attention` node from opset 23 on;
- decomposed: each model's own eager attention, MatMul · Softmax · MatMul, without the guards against fully masked rows.

transformers builds masks by index arithmetic (``padding_mask[batch_idx, kv_idx]``), which exports as Range, Expand and GatherND
nodes. The masks below are the same booleans by broadcasting ``mask[:, None, None, :]``; they are
expanded to all queries, because onnxruntime's Attention does not broadcast that axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch

Mask = torch.Tensor | None


@contextmanager
def attention_for_export(module: torch.nn.Module, kind: Literal["fused", "decomposed"]) -> Iterator[None]:
    """Give the transformers models inside `module` the requested attention while the block runs; others are unchanged."""
    models = [part for part in module.modules() if hasattr(part, "set_attn_implementation") and hasattr(part, "config")]
    if not models:
        yield
        return
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS as MASKS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as ATTENTIONS

    with ExitStack() as stack:
        stack.enter_context(_entry(ATTENTIONS, "sdpa", fused_attention))
        stack.enter_context(_entry(MASKS, "sdpa", boolean_mask))
        stack.enter_context(_entry(MASKS, "eager", additive_mask))
        for model in models:
            stack.enter_context(_implementation(model, "sdpa" if kind == "fused" else "eager"))
        yield


@contextmanager
def _entry(table: MutableMapping[str, Callable[..., Any]], name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Put `function` into one of transformers' tables; local entries hide global ones, so deleting restores them."""
    table[name] = function
    try:
        yield
    finally:
        del table[name]


@contextmanager
def _implementation(model: Any, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    supported = name == "eager" or getattr(model, "_supports_sdpa", False)
    if before == name or not supported:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def fused_attention(  # noqa: PLR0917  (the signature is transformers')
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Mask,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Mask = None,
    **rest: Any,  # noqa: ARG001  (dropout and the like, which inference has not)
) -> tuple[torch.Tensor, None]:
    """Return scaled dot product attention as one operator: [batch, heads, queries, size] in, [batch, queries, heads, size] out.

    Fewer key than query heads (grouped queries) are kept: ONNX's Attention repeats them itself. The result is copied to
    contiguous order, because the strides that torch reports while tracing differ from those when it lowers the operator.
    """
    if position_bias is not None:
        low = torch.finfo(query.dtype).min
        attention_mask = (
            position_bias if attention_mask is None else torch.where(attention_mask, position_bias, low)
        ).contiguous()
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    attended = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        scale=scaling,
        is_causal=bool(causal) and attention_mask is None,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return attended.transpose(1, 2).clone(memory_format=torch.contiguous_format), None


def boolean_mask(  # noqa: PLR0917  (the signature is transformers')
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., torch.Tensor] | None = None,
    attention_mask: Mask = None,
    **rest: Any,
) -> Mask:
    """Return the keys that each query attends to: bool [batch, 1, q_length, kv_length], or None for all of them."""
    from transformers import masking_utils

    if rest.get("use_vmap"):
        mask: Mask = masking_utils.sdpa_mask(
            batch_size,
            q_length,
            kv_length,
            q_offset,
            kv_offset,
            mask_function=mask_function,
            attention_mask=attention_mask,
            **{**rest, "allow_is_causal_skip": False},
        )
        return mask
    padding = masking_utils.prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if padding is not None:
        padding = padding[:, None, None, :].to(torch.bool)
    if mask_function is None or mask_function is masking_utils.bidirectional_mask_function:
        return padding if padding is None else padding.expand(batch_size, 1, q_length, kv_length)
    device = rest.get("device", "cpu")
    samples, head = (
        torch.arange(batch_size, device=device)[:, None, None, None],
        torch.zeros((), dtype=torch.int64, device=device),
    )
    queries, keys = torch.arange(q_length, device=device) + q_offset, torch.arange(kv_length, device=device) + kv_offset
    pattern = mask_function(samples, head, queries[:, None], keys)
    return (pattern if padding is None else pattern & padding).expand(batch_size, 1, q_length, kv_length)


def additive_mask(*sizes: Any, dtype: torch.dtype = torch.float32, **rest: Any) -> Mask:
    """Return the same mask as numbers to add to the scores: 0 where a key is attended to, else the lowest finite number."""
    mask = boolean_mask(*sizes, **rest)
    if mask is None:
        return None
    return torch.where(mask, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)
