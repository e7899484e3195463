"""The public Python API as Markdown: what `edgeopt.__all__` names, with signatures, docstrings and result types."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import edgeopt
from edgeopt.config import Options

_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):$")
_ENTRY = re.compile(r"^(\*{0,2}\w+): (.*)$")


def python_page() -> str:
    """Return the page about everything in `edgeopt.__all__` and the types its functions return."""
    things = {name: _resolve(name) for name in sorted(edgeopt.__all__) if name != "__version__"}
    functions = {name: thing for name, thing in things.items() if inspect.isfunction(thing)}
    classes = {name: thing for name, thing in things.items() if inspect.isclass(thing)}
    results = {kind.__name__: kind for kind in map(_returned, functions.values()) if kind is not None}
    lines = [
        "# Python\n",
        "Written by `make format` from `edgeopt.__all__`; do not edit.\n",
        "`import edgeopt` loads neither torch nor onnxruntime; each name is imported when it is first used.\n",
        "## Functions\n",
        *[f"### `edgeopt.{name}`\n\n{_function(name, thing)}" for name, thing in functions.items()],
        "## Classes\n",
        *[f"### `edgeopt.{name}`\n\n{_class(thing)}" for name, thing in classes.items()],
        "## Results\n",
        "What the functions return.\n",
        *[f"### `{name}`\n\n{_class(kind)}" for name, kind in sorted(results.items()) if name not in classes],
    ]
    return "\n".join(lines)


def _resolve(name: str) -> Any:
    """Return the object called `edgeopt.NAME`; a package that can be called gives the function of its own name."""
    thing = getattr(edgeopt, name)
    return getattr(thing, name) if isinstance(thing, ModuleType) else thing


def _returned(function: Callable[..., Any]) -> type | None:
    """Return the dataclass of ours that `function` returns, if it returns one."""
    kind = typing.get_type_hints(function).get("return")
    ours = inspect.isclass(kind) and kind.__module__.startswith("edgeopt.") and dataclasses.is_dataclass(kind)
    return kind if ours else None


def _function(name: str, function: Callable[..., Any]) -> str:
    parameters = inspect.signature(function).parameters.values()
    marked = [*_with_star(list(parameters))]
    returned = inspect.signature(function).return_annotation
    inside = "".join(f"    {part},\n" for part in marked)
    return f"```text\n{name}(\n{inside}) -> {_plain(returned)}\n```\n\n{_prose(inspect.getdoc(function) or '')}\n"


def _with_star(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """Yield each parameter as in a signature, with the star before the first keyword-only one."""
    starred = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        default = "" if parameter.default is inspect.Parameter.empty else f" = {_short(parameter.default)}"
        yield f"{parameter.name}: {_plain(parameter.annotation)}{default}"


def _short(value: Any) -> str:
    """Return a default value, or the name of its class where writing it out would take lines."""
    return f"{type(value).__name__}()" if isinstance(value, Options) or dataclasses.is_dataclass(value) else repr(value)


def _plain(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _class(kind: type) -> str:
    text = _prose(inspect.getdoc(kind) or "")
    if issubclass(kind, Options):
        return f"{text}\n\nIts fields are options: see the pages of this reference.\n"
    fields = _documented_fields(kind) if dataclasses.is_dataclass(kind) else []
    methods = [
        f"- `{name}{_methods_signature(method)}`: {(inspect.getdoc(method) or '').splitlines()[0]}"
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and not name.startswith("_") and inspect.getdoc(method)
    ]
    return "\n".join([text, "", *fields, *methods]).strip() + "\n"


def _methods_signature(method: Callable[..., Any]) -> str:
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    return f"({', '.join(names)})"


def _documented_fields(kind: type) -> list[str]:
    """Return a line for each field of a dataclass, with the docstring below it in its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    lines: list[str] = []
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and str(after.value.value)
            text = f": {' '.join(documented.replace('``', '`').split())}" if documented else ""
            lines.append(f"- `{node.target.id}` (`{ast.unparse(node.annotation)}`){text}")
    return lines


def _prose(text: str) -> str:
    """Return a Google-style docstring as Markdown: its sections as bold words, their entries as lists."""
    lines: list[str] = []
    inside = False
    for line in text.replace("``", "`").splitlines():
        section = _SECTION.match(line)
        if section:
            inside = True
            lines += [f"**{section[1]}**", ""]
            continue
        entry = _ENTRY.match(line.strip()) if inside and line.startswith("    ") and not line.startswith("     ") else None
        if entry:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif inside and line.startswith("    "):
            lines.append(f"  {line.strip()}")
        else:
            inside = inside and not line.strip()
            lines.append(line)
    return "\n".join(lines).strip()
