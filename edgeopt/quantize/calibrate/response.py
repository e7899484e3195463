"""What becomes of an activation before the next layer reads it: the elementwise function between the two.

    Conv → x → Sigmoid ─┐            f(x) = x · sigmoid(x)
           └─────────── Mul → Conv

Rounding x matters only as far as f(x) changes. SiLU sends everything below -8 to zero, so a grid that reaches down to -90
spends most of its levels on values that are all the same afterwards. With f at hand, `ranges.py` minimizes
E[(f(x) - f(q(x)))²] instead of E[(x - q(x))²].

The function is read off the graph: the nodes that compute elementwise from x and scalars alone, up to the one tensor through
which everything else sees x. It needs no list of activation functions, only of elementwise operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import erf
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.graph.matching import array, attribute

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]

_MOST_NODES = 12  # of one function; Mish and GELU written out take up to nine


def response(value: ir.Value) -> Function | None:
    """Return the elementwise function through which alone the rest of the graph sees `value`; None if there is none.

    The function takes and returns float64 arrays of any shape.
    """
    functions: dict[ir.Value, Function] = {value: _identity}
    inside: list[ir.Node] = []
    found: Function | None = None
    while len(inside) < _MOST_NODES:
        candidates = [node for known in functions for node in known.consumers() if node not in inside]
        node = next((node for node in candidates if _is_elementwise(node, functions)), None)
        if node is None:
            break
        inside.append(node)
        functions[node.outputs[0]] = _composed(node, functions)
        seen = [known for known in functions if _is_seen(known, inside)]
        if len(seen) == 1 and seen[0] is not value and any(node.op_type not in _LINEAR for node in inside):
            found = functions[seen[0]]
    return found


def _is_seen(value: ir.Value, inside: Sequence[ir.Node]) -> bool:
    """Return whether the graph's outputs or nodes that are not `inside` read the value."""
    return value.is_graph_output() or any(node not in inside for node in value.consumers())


def _identity(x: Floats) -> Floats:
    return x


def _is_elementwise(node: ir.Node, functions: Mapping[ir.Value, Function]) -> bool:
    """Return whether the node computes elementwise from known values and scalars alone."""
    operator = _UNARY.get(node.op_type) or _BINARY.get(node.op_type)
    if operator is None or node.domain not in {"", "ai.onnx", "com.microsoft"} or len(node.outputs) != 1:
        return False
    return all(item is None or item in functions or _scalar(item) is not None for item in node.inputs)


def _scalar(value: ir.Value) -> float | None:
    values = array(value)
    return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None


def _composed(node: ir.Node, functions: Mapping[ir.Value, Function]) -> Function:
    parts = [None if item is None else functions.get(item, _scalar(item)) for item in node.inputs]
    operator = _UNARY.get(node.op_type) or _BINARY[node.op_type]

    def function(x: Floats) -> Floats:
        values = [part(x) if callable(part) else part for part in parts]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.asarray(operator(node, *values), dtype=np.float64)

    return function


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))


def _erf(x: Any) -> Any:
    return np.vectorize(erf, otypes=[np.float64])(x)


def _gelu(node: ir.Node, x: Any) -> Any:
    if attribute(node, "approximate", "none") == "tanh":
        return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + _erf(x / np.sqrt(2.0)))


def _clip(_: ir.Node, x: Any, low: float | None = None, high: float | None = None) -> Any:
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


_UNARY: Mapping[str, Callable[..., Any]] = {
    "Abs": lambda _, x: np.abs(x),
    "Clip": _clip,
    "Elu": lambda node, x: np.where(x > 0, x, attribute(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0.0))),
    "Erf": lambda _, x: _erf(x),
    "Exp": lambda _, x: np.exp(x),
    "Gelu": _gelu,
    "HardSigmoid": lambda node, x: np.clip(attribute(node, "alpha", 0.2) * x + attribute(node, "beta", 0.5), 0.0, 1.0),
    "HardSwish": lambda _, x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "LeakyRelu": lambda node, x: np.where(x > 0, x, attribute(node, "alpha", 0.01) * x),
    "Mish": lambda _, x: x * np.tanh(np.logaddexp(0.0, x)),
    "Neg": lambda _, x: -x,
    "QuickGelu": lambda node, x: x * _sigmoid(attribute(node, "alpha", 1.702) * x),
    "Relu": lambda _, x: np.maximum(x, 0.0),
    "Sigmoid": lambda _, x: _sigmoid(x),
    "Softplus": lambda _, x: np.logaddexp(0.0, x),
    "Softsign": lambda _, x: x / (1.0 + np.abs(x)),
    "Swish": lambda node, x: x * _sigmoid(attribute(node, "alpha", 1.0) * x),
    "Tanh": lambda _, x: np.tanh(x),
    "ThresholdedRelu": lambda node, x: np.where(x > attribute(node, "alpha", 1.0), x, 0.0),
}
"""Elementwise operators of one activation; further inputs are scalars."""
_BINARY: Mapping[str, Callable[..., Any]] = {
    "Add": lambda _, a, b: a + b,
    "Div": lambda _, a, b: a / b,
    "Max": lambda _, *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "Min": lambda _, *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "Mul": lambda _, a, b: a * b,
    "PRelu": lambda _, x, slope: np.where(x > 0, x, slope * x),
    "Pow": lambda _, a, b: np.power(a, b),
    "Sub": lambda _, a, b: a - b,
}
"""Elementwise operators of two or more inputs, each an activation or a scalar."""
_LINEAR = {"Add", "Div", "Mul", "Neg", "Sub"}
