"""Options: frozen, strict, and errors that name key, place and nearest valid key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from edgeopt.config import Options
from edgeopt.errors import DeprecatedKey, RecipeError


class Inner(Options):
    depth: int = Field(default=1, ge=1)


class Outer(Options):
    name: str
    inner: Inner = Inner()
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x", "nme": 1}, "here: unknown key 'nme' (did you mean 'name'?); allowed here: inner, maybe, name"),
        ({"name": "x", "inner": {"dept": 1}}, "here: unknown key 'inner.dept' (did you mean 'depth'?); allowed here: depth"),
        ({"name": "x", "maybe": {"dept": 1}}, "here: unknown key 'maybe.dept' (did you mean 'depth'?); allowed here: depth"),
        ({}, "here: key 'name' is missing; add it"),
        ({"name": 3}, "here: key 'name' is 3: Input should be a valid string"),
        ({"name": "x", "inner": {"depth": "2"}}, "here: key 'inner.depth' is '2': Input should be a valid integer"),
        ({"name": "x", "inner": {"depth": 0}}, "here: key 'inner.depth' is 0: Input should be greater than or equal to 1"),
    ],
)
def test_wrong_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Outer.read(values, where="here")
    assert str(raised.value) == message


def test_options_cannot_be_changed() -> None:
    options = Outer(name="x")
    with pytest.raises(ValidationError, match="frozen"):
        options.name = "y"  # type: ignore[misc]


class Renewed(Options):
    deprecated_keys: ClassVar[Mapping[str, str]] = {"old": "size"}

    size: int = 1


def test_a_deprecated_key_is_accepted_without_effect_and_says_what_to_use() -> None:
    with pytest.warns(DeprecatedKey, match="old no longer has an effect: use size"):
        read = Renewed.read({"old": True, "size": 3}, where="here")
    assert read == Renewed(size=3)
    assert "old" not in read.model_dump()


def test_a_deprecated_key_is_no_key_of_another_table() -> None:
    with pytest.raises(RecipeError, match="unknown key 'old'"):
        Outer.read({"name": "x", "old": 1}, where="here")
