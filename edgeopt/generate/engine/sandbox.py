"""The Jinja environment that chat templates run in: a sandbox with limits on time and size.

A template comes with a model, so it is untrusted. Jinja's sandbox keeps it from Python's objects, but not from two nested
loops over ``range(99999)`` or from ``9**9**9``. So

- each line of the template asks how much time of this thread the rendering has taken so far (`rendered`),
- what one operation could make too large (products, powers, formats, texts put together) is refused before it is made,
- the text that comes out may have `_MOST_CHARACTERS`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any

_MOST_SECONDS = 10.0
_MOST_CHARACTERS = 1 << 24
_MOST_BITS = 1 << 14
"""Of an integer."""
_WIDTH = re.compile(r"\d{5,}")
"""A number in a format that pads."""
_WIDE_FIELD = re.compile(r"\{[^{}]*(:[^{}]*\d{5}|\{)")
"""A field of `str.format` that pads far, or as far as an argument says."""
_PADDING = {"ljust", "rjust", "center", "zfill"}


class TooMuchError(Exception):
    """The template takes too long, or makes too much."""


def rendered(template: Any, variables: Mapping[str, Any]) -> str:
    """Return the text that a template of `environment` gives.

    Raises:
        TooMuchError: it takes more than `_MOST_SECONDS` of this thread's time, or makes too much.
    """
    end, before = time.thread_time() + _MOST_SECONDS, sys.gettrace()

    def look(*_: object) -> Any:
        if time.thread_time() > end:
            raise TooMuchError(f"it takes more than {_MOST_SECONDS:g} s")
        return look

    sys.settrace(look)
    try:
        parts, size = [], 0
        for part in template.generate(variables):
            size += len(part)
            _check(size)
            parts.append(part)
    finally:
        sys.settrace(before)
    return "".join(parts)


def _check(size: int) -> None:
    if size > _MOST_CHARACTERS:
        raise TooMuchError(f"it makes more than {_MOST_CHARACTERS:,} characters")


def _check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise an error if an operation would make too large a number, text or list."""
    if operator == "%" and isinstance(left, str):
        _check_format(left)
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 1) if operator == "**" else left.bit_length() + right.bit_length()
        if operator in {"*", "**"} and bits > _MOST_BITS:
            raise TooMuchError(f"it makes a number of more than {_MOST_BITS:,} bits")
    elif operator == "*":
        for times, some in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(some, Sequence):
                _check(times * len(some))
    elif operator == "+" and isinstance(left, Sequence) and isinstance(right, Sequence):
        _check(len(left) + len(right))


def _check_format(form: str) -> None:
    if _WIDTH.search(form) or "*" in form:
        raise TooMuchError("it pads texts without a limit")


def _limited(padding: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that pads texts, with a limit on how far."""

    @wraps(padding)
    def limited(text: Any, *given: Any, **named: Any) -> Any:
        _check_format(str(text) if padding.__name__ == "do_format" else "")
        _check(max((value for value in (*given, *named.values()) if isinstance(value, int)), default=0))
        return padding(text, *given, **named)

    return limited


def _check_call(called: Any, given: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Raise an error if a method of a text, such as ``'a'.ljust(10 ** 9)``, would make too large a text."""
    method = getattr(called, "__wrapped__", called)  # (Jinja wraps str.format)
    text, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if not isinstance(text, str):
        return
    if name in _PADDING:
        _check(max((value for value in (*given, *named.values()) if isinstance(value, int)), default=0))
    elif name == "expandtabs":
        _check(text.count("\t") * int((*given, *named.values(), 8)[0]))
    elif name == "replace" and len(given) > 1:
        _check(text.count(given[0]) * len(given[1]))
    elif name.startswith("format") and _WIDE_FIELD.search(text.replace("{{", "")):
        raise TooMuchError("it pads texts without a limit")


def environment() -> Any:
    """Return the environment, with what transformers adds to Jinja's own."""
    import jinja2
    from jinja2 import nodes
    from jinja2.compiler import CodeGenerator
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}`` marks what the assistant says; it has no effect on a prompt."""

        tags = {"generation"}  # noqa: RUF012  (as Jinja declares it)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller: Any) -> Any:
            return caller()

    class Generator(CodeGenerator):
        """Lets ``a ~ b`` pass by `Limited.joined`."""

        def visit_Concat(self, node: Any, frame: Any) -> None:  # noqa: N802  (as Jinja calls it)
            self.write("environment.joined((")
            for part in node.nodes:
                self.visit(part, frame)
                self.write(", ")
            self.write("))")

    class Limited(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%", "+"})
        code_generator_class = Generator

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(self, context: Any, called: Any, /, *given: Any, **named: Any) -> Any:
            _check_call(called, given, named)
            return super().call(context, called, *given, **named)

        def joined(self, parts: Sequence[Any]) -> str:
            texts = [str(part) for part in parts]
            _check(sum(map(len, texts)))
            return "".join(texts)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    made = Limited(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters |= {name: _limited(made.filters[name]) for name in ("center", "format", "indent")}
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def _tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    """Return JSON without HTML escapes, unlike Jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
