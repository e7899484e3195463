"""JSON and TOML files that others wrote: read, or refused in one line that says what stands in their place."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgeopt.errors import EdgeoptError

_Read = TypeVar("_Read")


def read_json(path: Path, *, error: type[EdgeoptError], what: str) -> Any:
    """Return what the JSON file at `path` holds.

    Args:
        path: of the file.
        error: raised if it cannot be read; its message names the path.
        what: what the file is, in errors.
    """
    return _parsed(Path(path), json.loads, "cannot be read as JSON", (error, what))


def read_toml(path: Path, *, error: type[EdgeoptError], what: str) -> dict[str, Any]:
    """Return what the TOML file at `path` holds; see `read_json`."""
    return _parsed(Path(path), tomllib.loads, "not valid TOML", (error, what))


def read_text(path: Path, *, error: type[EdgeoptError], what: str) -> str:
    """Return the text of the UTF-8 file at `path`; see `read_json`."""
    try:
        return read_bytes(path, error=error, what=what).decode("utf-8")
    except UnicodeDecodeError as reason:
        raise error(f"{path}: {what} must be UTF-8 text; byte {reason.start} is none") from reason


def read_bytes(path: Path, *, error: type[EdgeoptError], what: str) -> bytes:
    """Return the bytes of the file at `path`; see `read_json`."""
    try:
        return Path(path).read_bytes()
    except IsADirectoryError as reason:
        raise error(f"{path}: a folder where {what} should be; name the file") from reason
    except (OSError, ValueError) as reason:  # (ValueError: a NUL in the path)
        said = reason.strerror if isinstance(reason, OSError) else str(reason)
        raise error(f"{path}: {what} cannot be read: {said}") from reason


def _parsed(path: Path, parse: Callable[[str], _Read], problem: str, about: tuple[type[EdgeoptError], str]) -> _Read:
    error, what = about
    content = read_bytes(path, error=error, what=what)
    try:
        return parse(content.decode("utf-8"))
    except RecursionError as reason:
        raise error(f"{path}: {problem}: {what} is never nested so deeply") from reason
    except ValueError as reason:
        raise error(f"{path}: {problem}: {' '.join(str(reason).split())[:200]}") from reason
