"""Parse the symbolic sizes of a torch.export program, such as ``Add(FloorDiv(Symbol('s0'), Integer(2)), Integer(1))``.

torch passes these texts to ``sympy.sympify``, which is Python's `eval`: a size could call anything, or be ``9**9**9**9``. Here
a text is parsed, restricted to a small grammar with bounded numbers, and the expression is built from the tree; nothing is
evaluated as Python, and no number grows beyond some thousand bits.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import sympy
from torch._export.serde import serialize

from edgeopt.errors import ModelError

_SYMBOL = re.compile(r"[a-z]{1,3}\d{1,6}")
_DECIMAL = re.compile(r"-?\d{1,30}(\.\d{0,60})?(e[+-]?\d{1,2})?")
_LARGEST = 2**64
_LARGEST_EXPONENT = 8
_MOST_POWERS_WITHIN = 2
_MOST_CHARACTERS = 20_000
_MOST_NODES = 4_000
_MOST_EXTREMES = 16
"""Calls of Max and Min, and operands of each: sympy compares every operand with all others."""
_OF_SYMPY: dict[str, Any] = {
    name: getattr(sympy, name)
    for name in (
        *("Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Min", "Max", "Abs", "Mod", "floor", "ceiling"),
        *("Equality", "Eq", "Unequality", "Ne", "LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan"),
        *("And", "Or", "Not"),
    )
}
_OF_TORCH = frozenset(
    {"Mod", "PythonMod", "FloorDiv", "CleanDiv", "CeilDiv", "CeilToInt", "FloorToInt", "TruncToInt", "RoundToInt"}
    | {"TruncToFloat", "ToFloat", "FloatTrueDiv", "IntTrueDiv", "PowByNatural", "FloatPow", "Identity", "Max", "Min"}
)
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow"})
_EXTREMES = frozenset({"Max", "Min"})
_KEYWORDS = frozenset({"positive", "integer", "nonnegative", "negative", "real", "evaluate", "precision"})
_CONSTANTS: dict[str, Any] = {"oo": sympy.oo, "true": sympy.true, "false": sympy.false}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: lambda left, right: left % right,
    ast.Pow: lambda left, right: left**right,
}


def check_size(text: str) -> None:
    """Check that `text` is arithmetic of symbols and bounded numbers.

    Raises:
        ValueError: it is something else; the message is the part that is refused.
    """
    _parse(text)


def parse_size(text: str, names: Mapping[str, Any]) -> Any:
    """Return the sympy expression for `text`.

    Args:
        text: the expression.
        names: torch's functions and the symbols known so far, by name.

    Raises:
        ValueError: as in `check_size`.
    """
    return _build(_parse(text), names)


@contextmanager
def parsed_sizes() -> Iterator[None]:
    """Make torch's loader of programs parse sizes with `parse_size` instead of evaluating them.

    Raises:
        ModelError: this torch parses sizes in another way.
    """
    real: Any = getattr(serialize, "sympy", None)
    if real is not sympy:
        raise ModelError("programs (.pt2) cannot be read safely with this torch, which parses sizes in another way; use ONNX")

    def sympify(value: Any, **options: Any) -> Any:
        return parse_size(value, options.get("locals") or {}) if isinstance(value, str) else real.sympify(value, **options)

    setattr(serialize, "sympy", SimpleNamespace(**{**vars(sympy), "sympify": sympify}))  # noqa: B010  (not exported by name)
    try:
        yield
    finally:
        setattr(serialize, "sympy", real)  # noqa: B010


def _parse(text: str) -> ast.expr:
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"{len(text)} characters")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(text[:60]) from error
    stack, seen, extremes = [(tree, 0)], 0, 0
    while stack:  # without recursion, because the depth is untrusted
        node, powers = stack.pop()
        seen += 1
        powers += _is_power(node)
        extremes += _is_call(node, _EXTREMES)
        if extremes > _MOST_EXTREMES:
            raise ValueError(f"more than {_MOST_EXTREMES} times Max or Min")
        if not _allowed(node) or powers > _MOST_POWERS_WITHIN or seen > _MOST_NODES:
            raise ValueError(ast.unparse(node)[:60] if seen <= _MOST_NODES else f"more than {_MOST_NODES} parts")
        stack.extend((child, powers) for child in _parts(node))
    return tree


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.Call(func=ast.Name(id="Symbol" | "Float" as name), args=[ast.Constant(value=str(text))], keywords=keywords):
            known = _SYMBOL if name == "Symbol" else _DECIMAL
            if not known.fullmatch(text):
                raise ValueError(text[:60])
            return [keyword.value for keyword in keywords]
        case ast.Call(func=function, args=arguments, keywords=keywords):
            return [function, *arguments, *(keyword.value for keyword in keywords)]
        case _:
            return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _allowed(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return True
        case ast.Constant(value=int(value)):
            return abs(value) < _LARGEST
        case ast.Constant(value=float(value)):
            return abs(value) < _LARGEST
        case ast.Name(id=name):
            return name in _CONSTANTS or name in _OF_SYMPY or name in _OF_TORCH or bool(_SYMBOL.fullmatch(name))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            return True
        case ast.BinOp(op=operator):
            return type(operator) in _OPERATORS and (not _is_power(node) or _small(node.right))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            known = (name in _OF_SYMPY or name in _OF_TORCH) and all(keyword.arg in _KEYWORDS for keyword in keywords)
            if name in _EXTREMES:
                return known and len(arguments) <= _MOST_EXTREMES
            return known and (name not in _POWERS or (len(arguments) == 2 and _small(arguments[1])))
        case _:
            return False


def _is_power(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Pow)
    return _is_call(node, _POWERS)


def _is_call(node: ast.AST, names: frozenset[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _small(node: ast.expr) -> bool:
    """Return whether an exponent is a small literal number."""
    match node:
        case ast.Constant(value=int(value)):
            return abs(value) <= _LARGEST_EXPONENT
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _small(operand)
        case ast.Call(func=ast.Name(id="Integer"), args=[operand], keywords=[]):
            return _small(operand)
        case _:
            return False


def _build(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return sympy.Integer(value) if type(value) is int else sympy.Float(value) if isinstance(value, float) else value
        case ast.Name(id=name):
            return names[name] if name in names else _CONSTANTS[name] if name in _CONSTANTS else sympy.Symbol(name)
        case ast.UnaryOp(op=operator, operand=operand):
            value = _build(operand, names)
            return -value if isinstance(operator, ast.USub) else value
        case ast.BinOp(left=left, op=operator, right=right):
            return _OPERATORS[type(operator)](_build(left, names), _build(right, names))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            function = names[name] if name in _OF_TORCH and name in names else _OF_SYMPY[name]
            options = {str(keyword.arg): _plain(keyword.value) for keyword in keywords}
            return function(*(_build(argument, names) for argument in arguments), **options)
        case _:
            raise ValueError(ast.unparse(node)[:60])


def _plain(node: ast.expr) -> Any:
    if not isinstance(node, ast.Constant):
        raise ValueError(ast.unparse(node)[:60])  # noqa: TRY004  (a text of a wrong form, not a wrong argument)
    return node.value
