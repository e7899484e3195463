"""Translations of torch operators that torch's own exporter refuses, or writes in a form that onnxruntime does not run.

`scaled_dot_product_attention` of any module:

- fused: one ONNX `Attention`. torch broadcasts a mask such as [batch, 1, 1, keys]; onnxruntime's Attention does not along
  queries and keys, so such a mask is expanded to [batch, 1, queries, keys].
- decomposed: MatMul · Softmax · MatMul. A query without keys gets zeros, as in torch, not NaN.

Then recurrent layers (`recurrent`), and operators that torch's exporter lacks: distances, medians, RReLU in evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import onnx_ir as ir
import torch
from onnxscript import opset18 as op
from onnxscript import opset23 as op23

from edgeopt.errors import ModelError
from edgeopt.export import recurrent

_ATEN = torch.ops.aten
_FUSED_RANK = 4


def translations(attention: Literal["fused", "decomposed"]) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return torch's operators, each with the function that translates it to ONNX."""
    attend = _fused if attention == "fused" else _decomposed
    return {
        _ATEN.scaled_dot_product_attention.default: attend,
        _ATEN._cdist_forward.default: _distances,
        _ATEN.median.dim: _median,
        _ATEN.rrelu_with_noise_functional.default: _rrelu,
        **recurrent.translations(),
    }


def _fused(  # noqa: PLR0917  (the signature is torch's)
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Return one Attention for four axes; other ranks are decomposed."""
    grouped = query.shape[1] != key.shape[1]
    if {len(query.shape), len(key.shape), len(value.shape)} != {_FUSED_RANK} or (grouped and not enable_gqa):
        return _decomposed(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    mask = _whole_mask(attn_mask, query, key) if attn_mask is not None else None
    attended, _, _, _ = op23.Attention(query, key, value, attn_mask=mask, scale=scale, is_causal=is_causal)
    return attended


def _whole_mask(mask: Any, query: Any, key: Any) -> Any:
    """Return `mask` with the axes [queries, keys] expanded where torch would broadcast them."""
    along_queries = mask.shape[-2] == 1 and query.shape[-2] != 1
    along_keys = mask.shape[-1] == 1 and key.shape[-2] != 1
    if not along_queries and not along_keys:
        return mask
    one = op.Constant(value_ints=[1])
    sizes = [
        op.Shape(query, start=-2, end=-1) if along_queries else one,
        op.Shape(key, start=-2, end=-1) if along_keys else one,
    ]
    return op.Expand(mask, op.Concat(*sizes, axis=0))


def _decomposed(  # noqa: PLR0917  (the signature is torch's)
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,  # noqa: ARG001  (a module in evaluation mode has none)
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Return softmax(query · keyᵀ · scale + mask) · value."""
    factor = scale if scale is not None else 1 / math.sqrt(int(query.shape[-1]))
    rank = len(key.shape)
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        key, value = (_repeated(part, int(query.shape[-3]) // int(key.shape[-3])) for part in (key, value))
    scaled = op.Mul(query, _number(factor, query.dtype))
    scores = op.MatMul(scaled, op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2]))
    if is_causal:
        weights = op.Softmax(op.Add(scores, _additive(_causal(query, key), query.dtype)), axis=-1)
    elif attn_mask is None:
        weights = op.Softmax(scores, axis=-1)
    elif attn_mask.dtype == ir.DataType.BOOL:
        weights = op.Softmax(op.Add(scores, _additive(attn_mask, query.dtype)), axis=-1)
        weights = op.Where(attn_mask, weights, _number(0.0, query.dtype))
    else:
        weights = op.Softmax(op.Add(scores, attn_mask), axis=-1)
        weights = op.Where(op.IsNaN(weights), _number(0.0, query.dtype), weights)
    return op.MatMul(weights, value)


def _additive(mask: Any, dtype: ir.DataType) -> Any:
    """Return a boolean mask as numbers to add to the scores."""
    return op.Where(mask, _number(0.0, dtype), _number(float(dtype.min), dtype))


def _number(value: float, dtype: ir.DataType) -> Any:
    return op.Constant(value=ir.tensor(value, dtype=dtype))


def _causal(query: Any, key: Any) -> Any:
    """Return the keys that each query attends to: bool [queries, keys], the lower triangle."""
    sizes = op.Concat(op.Shape(query, start=-2, end=-1), op.Shape(key, start=-2, end=-1), axis=0)
    ones = op.Expand(op.Constant(value=ir.tensor(1, dtype=ir.DataType.INT64)), sizes)
    return op.Cast(op.Trilu(ones, upper=0), to=int(ir.DataType.BOOL))


def _repeated(heads: Any, times: int) -> Any:
    """Return [..., heads, keys, size] with each head `times` in a row."""
    apart = op.Unsqueeze(heads, op.Constant(value_ints=[-3]))
    rank = len(heads.shape) + 1
    repeats = [1] * rank
    repeats[-3] = times
    tiled = op.Tile(apart, op.Constant(value_ints=repeats))
    sizes = op.Shape(heads)
    front = op.Slice(sizes, *(op.Constant(value_ints=[edge]) for edge in (0, rank - 4, 0)))
    back = op.Slice(sizes, *(op.Constant(value_ints=[edge]) for edge in (rank - 3, rank - 1, 0)))
    return op.Reshape(tiled, op.Concat(front, op.Constant(value_ints=[-1]), back, axis=0))


def _distances(left: Any, right: Any, p: float, compute_mode: int | None = None) -> Any:  # noqa: ARG001  (torch's signature)
    """Return the p-norms of all differences: [..., n, size], [..., m, size] → [..., n, m]."""
    last = op.Constant(value_ints=[-1])
    apart = op.Sub(op.Unsqueeze(left, op.Constant(value_ints=[-2])), op.Unsqueeze(right, op.Constant(value_ints=[-3])))
    if p == 2:
        return op.ReduceL2(apart, last, keepdims=0)
    if p == 1:
        return op.ReduceL1(apart, last, keepdims=0)
    if math.isinf(p):
        return op.ReduceMax(op.Abs(apart), last, keepdims=0)
    powers = op.ReduceSum(op.Pow(op.Abs(apart), _number(p, left.dtype)), last, keepdims=0)
    return op.Pow(powers, _number(1 / p, left.dtype))


def _median(values: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    """Return the lower median along `dim`, and where it is: the last of the smaller half."""
    axis = dim % len(values.shape)
    two, one = op.Constant(value_ints=[2]), op.Constant(value_ints=[1])
    count = op.Div(op.Add(op.Shape(values, start=axis, end=axis + 1), one), two)
    smaller = op.TopK(values, count, axis=axis, largest=0, sorted=1)
    last = op.Constant(value_ints=[-1]) if keepdim else op.Constant(value_int=-1)
    found, place = (op.Gather(part, last, axis=axis) for part in smaller)
    return found, place


def _rrelu(  # noqa: PLR0917  (the signature is torch's)
    values: Any,
    noise: Any,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,  # noqa: ARG001  (a module in evaluation mode draws nothing)
) -> tuple[Any, Any]:
    """Return the leaky ReLU that a randomized one is in evaluation, and the noise as it was.

    Raises:
        ModelError: it is in training mode all the same.
    """
    if training:
        raise ModelError("rrelu with training=True draws random slopes; pass training=self.training")
    return op.LeakyRelu(values, alpha=(lower + upper) / 2), noise
