"""Option classes as Markdown: one section per class, one row per field."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from edgeopt.config import Options

_BOUNDS: Mapping[str, str] = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}
_NOTE = "Written by `make format` from the option docstrings; do not edit."


def options_page(title: str, about: str, root: type[Options]) -> str:
    """Return the page about `root` and every option class reachable from it."""
    sections = [f"# {title}\n\n{_NOTE}\n\n{about}\n"]
    seen: dict[type[Options], str] = {}
    for path, kind in tables(root):
        heading = f"## `[{path}]`" if path else "## Top-level keys"
        body = f"The keys of `[{seen[kind]}]`.\n" if kind in seen else f"{_summary(kind)}\n\n{_rows(kind)}"
        sections.append(f"{heading}\n\n{body}")
        seen.setdefault(kind, path)
    return "\n".join(sections)


def tables(root: type[Options], path: str = "") -> Iterator[tuple[str, type[Options]]]:
    """Yield `root` and the option classes below it, each with the path of the TOML table it describes."""
    yield path, root
    for name, field in root.model_fields.items():
        for kind in option_classes(field.annotation):
            place = f"{path}.{name}" if path else name
            several = len(option_classes(field.annotation)) > 1  # one of several kinds, told apart by their key "kind"
            yield from tables(kind, f"{place} kind={kind.model_fields['kind'].default}" if several else place)


def option_classes(annotation: Any) -> list[type[Options]]:
    """Return the option classes inside an annotation such as ``Device | None`` or ``list[Sample]``."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return [annotation]
    return [kind for argument in get_args(annotation) for kind in option_classes(argument)]


def _summary(kind: type[Options]) -> str:
    """Return the docstring of `kind` as one paragraph."""
    return " ".join((kind.__doc__ or "").replace("``", "`").split())


def _rows(kind: type[Options]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        nested = option_classes(field.annotation)
        text = field.description or (_summary(nested[0]) if len(nested) == 1 else "")
        meaning = " ".join(text.replace("``", "`").split())
        cells = (f"`{name}`", _type(field), _default(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _type(field: FieldInfo) -> str:
    """Return a field's type with its bounds, such as ``float > 0, ≤ 1``."""
    bounds = [
        f"{sign} {getattr(entry, key):g}" for entry in field.metadata for key, sign in _BOUNDS.items() if hasattr(entry, key)
    ]
    text, none, _ = _annotation(field.annotation).partition(" or none")
    return " ".join([text, ", ".join(bounds)]).strip() + none


def _annotation(annotation: Any) -> str:
    """Return an annotation in the words of a recipe: ``none`` for None, values in quotes, tables for option classes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "none"
    if origin is Literal:
        return " or ".join(f"`{_value(value)}`" for value in arguments)
    if origin is Annotated:
        return _annotation(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_annotation(argument) for argument in arguments))
    if origin is list:
        return f"list of {_annotation(arguments[0])}"
    if origin is dict:
        return f"table of {_annotation(arguments[0])} → {_annotation(arguments[1])}"
    if option_classes(annotation):
        return "table"
    names: Mapping[Any, str] = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "true or false",
        Path: "path",
        Any: "any value",
    }
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    """Return a field's default as TOML would write it, or "required"."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Options):
        return "its defaults"
    return f"`{_value(value)}`" if value is not None else "none"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    return str(value)
