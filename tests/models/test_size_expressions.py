"""Symbolic sizes: what is arithmetic is built, what is anything else is refused before anything runs."""

from __future__ import annotations

import pytest
import sympy
from torch._export.serde import serialize

from edgeopt.errors import ModelError
from edgeopt.models.size_expressions import check_size, parse_size, parsed_sizes

S0, S1 = sympy.Symbol("s0"), sympy.Symbol("s1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", sympy.Integer(7)),
        ("-s0 + 3", 3 - S0),
        ("+s0", S0),
        ("s0 - s1", S0 - S1),
        ("s0 / 2", S0 / 2),
        ("7 // 2", sympy.Integer(3)),
        ("7 % 4", sympy.Integer(3)),
        ("2 ** 3", sympy.Integer(8)),
        ("Add(Mul(Symbol('s0'), Integer(2)), Integer(1))", 2 * S0 + 1),
        ("s0 * 0.5", S0 * sympy.Float(0.5)),
        ("Rational(1, 3)", sympy.Rational(1, 3)),
        ("Max(s0, 2) ", sympy.Max(S0, 2)),
        ("oo", sympy.oo),
        ("true", sympy.true),
        ("false", sympy.false),
        ("Eq(s0, s1)", sympy.Eq(S0, S1)),
        ("Float('0.5', precision=53)", sympy.Float("0.5", precision=53)),
        ("Symbol('s0', positive=True)", sympy.Symbol("s0", positive=True)),
    ],
)
def test_arithmetic_is_built_as_it_is_written(text: str, expected: sympy.Basic) -> None:
    assert parse_size(text, {}) == expected


def test_known_symbols_and_functions_of_torch_are_those_given() -> None:
    positive = sympy.Symbol("s0", positive=True)
    assert parse_size("s0 + 1", {"s0": positive}) == positive + 1
    assert parse_size("FloorDiv(s0, 2)", {"FloorDiv": lambda a, b: sympy.floor(a / b)}) == sympy.floor(S0 / 2)
    assert parse_size("Max(s0, 3)", {"Max": lambda a, b: a + b}) == S0 + 3, "torch's own form of a function counts"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "s0.__class__",
        "s0[0]",
        "[s0]",
        "lambda: s0",
        "s0 if s1 else 1",
        "not s0",
        "s0 << 2",
        "'s0'",
        "symbol",
        "abcd1",
        "Symbol('__import__')",
        "Symbol('s0', commutative=True)",
        "Float('0x10')",
        "Integer('9' * 9)",
        "Add(*s0)",
        "1j",
        "",
        "s0 +",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        check_size(text)


@pytest.mark.parametrize(
    ("largest", "refused"),
    [
        (str(2**64 - 1), str(2**64)),
        ("-1e19", "-1e20"),
        ("s0 ** 8", "s0 ** 9"),
        ("s0 ** -8", "s0 ** -9"),
        ("Pow(s0, Integer(8))", "Pow(s0, Integer(9))"),
        ("(s0 ** 8) ** 8", "((s0 ** 8) ** 8) ** 8"),
        (f"Max({','.join(['s0'] * 16)})", f"Max({','.join(['s0'] * 17)})"),
        ("+".join(["Min(s0, 2)"] * 16), "+".join(["Min(s0, 2)"] * 17)),
        ("+".join(["s0"] * 2000), "+".join(["s0"] * 2001)),
        ("s0" + " " * 19_998, "s0" + " " * 19_999),
    ],
)
def test_numbers_and_texts_are_bounded(largest: str, refused: str) -> None:
    check_size(largest)
    with pytest.raises(ValueError):
        check_size(refused)


@pytest.mark.parametrize("exponent", ["s0", "2.0", "Integer(s0)"])
def test_an_exponent_is_a_small_literal(exponent: str) -> None:
    with pytest.raises(ValueError):
        check_size(f"2 ** {exponent}")


def test_torchs_loader_parses_and_never_evaluates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sympy.parsing.sympy_parser.eval_expr", lambda *_: pytest.fail("a size was evaluated"))
    with parsed_sizes():
        assert serialize.sympy.sympify("s0 + 1", locals={"s0": S1}) == S1 + 1
        assert serialize.sympy.sympify(4) == sympy.Integer(4)
        assert serialize.sympy.Symbol is sympy.Symbol
    assert serialize.sympy is sympy
    with pytest.raises(RuntimeError, match="stop"), parsed_sizes():
        raise RuntimeError("stop")
    assert serialize.sympy is sympy, "the loader is put back after an error too"


def test_a_torch_that_parses_sizes_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialize, "sympy", object())
    with pytest.raises(ModelError, match="cannot be read safely with this torch"), parsed_sizes():
        pytest.fail("the block ran")
