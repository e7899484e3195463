"""Base of all option classes: frozen, unknown keys refused, each option declared once with default and documentation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgeopt.errors import DeprecatedKey, RecipeError, nearest
from edgeopt.machine import MOST_THREADS

ThreadCount: TypeAlias = Annotated[int, Field(ge=1, le=MOST_THREADS)]
"""Threads of a session."""


class Options(BaseModel):
    """A frozen set of options. Subclasses declare fields with a docstring below each."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
    deprecated_keys: ClassVar[Mapping[str, str]] = {}
    """Keys of earlier versions that are accepted without effect, each with what to use."""

    @model_validator(mode="before")
    @classmethod
    def _without_deprecated(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for key in cls.deprecated_keys.keys() & values.keys():
            warnings.warn(f"{key} no longer has an effect: use {cls.deprecated_keys[key]}", DeprecatedKey, stacklevel=2)
        return {key: value for key, value in values.items() if key not in cls.deprecated_keys}

    @classmethod
    def read(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Return validated options, or raise a one-line `RecipeError` with the key, its place `where` and what is allowed."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(_explain(cls, error, where)) from error


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> str:
    errors = error.errors()
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        allowed = sorted(_fields_at(model, path[:-1]))
        return f"{where}: unknown key '{key}'{nearest(path[-1], allowed)}; allowed here: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{where}: key '{key}' is missing; add it"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: key '{key}' is {first['input']!r}: {message}" if key else f"{where}: {message}"


def _fields_at(model: type[BaseModel], path: list[str]) -> Iterator[str]:
    """Yield the field names of the option class at `path` below `model`."""
    for part in path:
        field = model.model_fields.get(part)
        nested = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)] if field else []
        if not nested:
            return
        model = nested[0]
    yield from model.model_fields


def _kinds(annotation: Any) -> Iterator[type]:
    """Yield the classes inside an annotation such as ``Prune | None`` or ``dict[str, Target]``."""
    if isinstance(annotation, type):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _kinds(argument)
