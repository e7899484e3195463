"""Reading a stage's facts: absent is allowed and is None or empty, the wrong type is an error that names stage and key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeopt.errors import DataError


@dataclass(frozen=True)
class Facts:
    """A JSON object and where it stands, such as ``profile.variants[0]``."""

    values: Mapping[str, Any]
    where: str

    def number(self, key: str) -> float | None:
        """Return a finite number."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, value, "a finite number")
        return float(value)

    def integer(self, key: str) -> int | None:
        """Return a whole number."""
        value = self.number(key)
        if value is not None and value != int(value):
            raise self.wrong(key, value, "a whole number")
        return None if value is None else int(value)

    def text(self, key: str) -> str | None:
        """Return a text."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, value, "a text")
        return value

    def flag(self, key: str) -> bool | None:
        """Return true or false."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def table(self, key: str) -> Facts:
        """Return an object, empty if there is none."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.wrong(key, value, "an object")
        return Facts(value or {}, f"{self.where}.{key}")

    def rows(self, key: str) -> list[Facts]:
        """Return a list of objects, empty if there is none."""
        rows = []
        for index, value in enumerate(self._list(key)):
            if not isinstance(value, Mapping):
                raise self.wrong(f"{key}[{index}]", value, "an object")
            rows.append(Facts(value, f"{self.where}.{key}[{index}]"))
        return rows

    def numbers(self, key: str) -> list[float]:
        """Return a list of finite numbers, empty if there is none."""
        values = self._list(key)
        numbers = [
            Facts({f"{key}[{index}]": value}, self.where).number(f"{key}[{index}]") for index, value in enumerate(values)
        ]
        return [number for number in numbers if number is not None]

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, empty if there is none."""
        for index, value in enumerate(self._list(key)):
            if not isinstance(value, str):
                raise self.wrong(f"{key}[{index}]", value, "a text")
        return list(self._list(key))

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if value is not None and not isinstance(value, list | tuple):
            raise self.wrong(key, value, "a list")
        return list(value or ())

    def wrong(self, key: str, value: object, expected: str) -> DataError:
        """Return the error that says what stands at `key` instead of `expected`."""
        return DataError(f"facts of {self.where}: '{key}' is {value!r:.60}; {expected} is expected")
