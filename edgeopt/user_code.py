"""Import what a user names as ``module:callable`` on the command line, in a recipe or from Python.

Only here is the current folder searched for modules, and last, so that it shadows nothing. Text that comes from a file must not
be passed to this module: see docs/concepts/trust.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def named(text: str, *, stay: bool = False) -> Iterator[Any]:
    """Yield the object that ``module:name`` names; the current folder is on the path while the block runs.

    Args:
        text: as the user wrote it.
        stay: keep the folder on the path, because the module may import more from it later, as a model does when it runs.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such name.
        ValueError: `text` is not of that form.
    """
    module_name, _, name = text.partition(":")
    with _looking_here() as added:
        module = importlib.import_module(module_name)
        if stay and added and _is_of(module, added[0]):
            added.clear()
        yield getattr(module, name)


def home_of(text: str) -> str | None:
    """Return the file or folder that the module of ``module:name`` would come from, without importing it; None: nowhere."""
    with _looking_here():
        try:
            spec = importlib.util.find_spec(text.partition(":")[0].partition(".")[0])
        except (ImportError, ValueError):
            return None
    if spec is None:
        return None
    return os.path.realpath(spec.origin) if spec.origin else str(sorted(spec.submodule_search_locations or ()))


@contextmanager
def _looking_here() -> Iterator[list[str]]:
    """Have the current folder last on the path; yield it in a list that is emptied where it is to stay there."""
    here = _current_folder()
    added = [here] if here is not None and not {"", here} & set(sys.path) else []
    sys.path.extend(added)
    try:
        yield added
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


def forget_current_folder() -> None:
    """Remove the current folder, which ``python -m`` puts first, from the path: its files must not shadow packages."""
    if sys.path and sys.path[0] in {"", _current_folder()}:
        del sys.path[0]


def _current_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # the folder was removed
        return None


def _is_of(module: Any, folder: str) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder))
