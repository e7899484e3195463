"""Operators that work on each element for itself, comparisons and reductions among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Attributes = Mapping[str, Any]
_TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16,
    11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip


def torch_type(number: int) -> torch.dtype:
    """Return the type that ONNX's TensorProto counts as `number`."""
    if number not in _TYPES:
        raise NotImplementedError(f"a Cast to type {number} of TensorProto")
    return _TYPES[number]


def _of(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return an operator without attributes."""

    def operator(_: Attributes, *inputs: Tensor) -> Tensor:
        return function(*inputs)

    return operator


def _divide(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _power(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b.to(a.dtype))


def _mod(given: Attributes, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if given.get("fmod", 0) else torch.remainder(a, b)


def _clip(_: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x if low is None and high is None else torch.clamp(x, low, high)


def _leaky_relu(given: Attributes, x: Tensor) -> Tensor:
    return F.leaky_relu(x, given.get("alpha", 0.01))


def _elu(given: Attributes, x: Tensor) -> Tensor:
    return F.elu(x, given.get("alpha", 1.0))


def _hard_sigmoid(given: Attributes, x: Tensor) -> Tensor:
    return torch.clamp(given.get("alpha", 0.2) * x + given.get("beta", 0.5), 0, 1)


def _hard_swish(_: Attributes, x: Tensor) -> Tensor:
    return x * torch.clamp(x / 6 + 0.5, 0, 1)


def _gelu(given: Attributes, x: Tensor) -> Tensor:
    kind = given.get("approximate", "none")
    return F.gelu(x, approximate=kind.decode() if isinstance(kind, bytes) else kind)


def _quick_gelu(given: Attributes, x: Tensor) -> Tensor:
    return x * torch.sigmoid(given.get("alpha", 1.702) * x)


def _bias_gelu(_: Attributes, x: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(x + bias)


def _prelu(_: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def _softmax(given: Attributes, x: Tensor) -> Tensor:
    return torch.softmax(x, given.get("axis", -1))


def _log_softmax(given: Attributes, x: Tensor) -> Tensor:
    return torch.log_softmax(x, given.get("axis", -1))


def _cast(given: Attributes, x: Tensor) -> Tensor:
    return x.to(torch_type(given["to"]))


def _cast_like(_: Attributes, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    """Return a reduction whose axes are an input (as of operator set 18) or an attribute (before)."""

    def operator(given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        places = given.get("axes") if axes is None else axes.tolist()
        if not places:
            if given.get("noop_with_empty_axes", 0):
                return x
            places = range(x.ndim)
        if not x.numel():
            raise NotImplementedError("a reduction of nothing")
        return function(x, [int(place) for place in places], bool(given.get("keepdims", 1)))

    return operator


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


def _arg(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def operator(given: Attributes, x: Tensor) -> Tensor:
        if given.get("select_last_index", 0):
            raise NotImplementedError("the last of several largest or smallest elements")
        return function(x, given.get("axis", 0), keepdim=bool(given.get("keepdims", 1)))

    return operator


def _chain(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return an operator of any number of inputs."""

    def operator(_: Attributes, *inputs: Tensor) -> Tensor:
        return reduce(function, inputs)

    return operator


def _mean(_: Attributes, *inputs: Tensor) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


def _not_a_number(_: Attributes, x: Tensor) -> Tensor:
    return torch.isnan(x)


def _cumulative_sum(given: Attributes, x: Tensor, axis: Tensor) -> Tensor:
    place = int(axis)
    if given.get("reverse", 0):
        return torch.flip(_cumulative_sum({**given, "reverse": 0}, torch.flip(x, [place]), axis), [place])
    total = torch.cumsum(x, place)
    return total - x if given.get("exclusive", 0) else total


ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "Abs": _of(torch.abs),
    "Add": _of(torch.add),
    "And": _of(torch.logical_and),
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _of(torch.ceil),
    "Clip": _clip,
    "Cos": _of(torch.cos),
    "CumSum": _cumulative_sum,
    "Div": _divide,
    "Elu": _elu,
    "Equal": _of(torch.eq),
    "Erf": _of(torch.erf),
    "Exp": _of(torch.exp),
    "Floor": _of(torch.floor),
    "Gelu": _gelu,
    "Greater": _of(torch.gt),
    "GreaterOrEqual": _of(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _of(lambda x: x),
    "IsNaN": _not_a_number,
    "LeakyRelu": _leaky_relu,
    "Less": _of(torch.lt),
    "LessOrEqual": _of(torch.le),
    "Log": _of(torch.log),
    "LogSoftmax": _log_softmax,
    "Max": _chain(torch.maximum),
    "Mean": _mean,
    "Min": _chain(torch.minimum),
    "Mish": _of(F.mish),
    "Mod": _mod,
    "Mul": _of(torch.mul),
    "Neg": _of(torch.neg),
    "Not": _of(torch.logical_not),
    "Or": _of(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _power,
    "Reciprocal": _of(torch.reciprocal),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: torch.sum(x * x, axes, keep)),
    "Relu": _of(torch.relu),
    "Round": _of(torch.round),
    "Sigmoid": _of(torch.sigmoid),
    "Sign": _of(torch.sign),
    "Sin": _of(torch.sin),
    "Softmax": _softmax,
    "Softplus": _of(F.softplus),
    "Softsign": _of(F.softsign),
    "Sqrt": _of(torch.sqrt),
    "Sub": _of(torch.sub),
    "Sum": _chain(torch.add),
    "Swish": lambda given, x: x * torch.sigmoid(given.get("alpha", 1.0) * x),
    "Tanh": _of(torch.tanh),
    "Where": _of(torch.where),
    "Xor": _of(torch.logical_xor),
    "com.microsoft.BiasGelu": _bias_gelu,
    "com.microsoft.Gelu": _gelu,
    "com.microsoft.QuickGelu": _quick_gelu,
}
