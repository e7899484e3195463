"""Packages that import what they offer when it is first used, and packages that can be called like the function in them.

Offering is plain PEP 562: a package's module-level ``__getattr__`` imports the module that has the name. Being callable cannot
be: `edgeopt.quantize` is a package and users call ``edgeopt.quantize(model, …)``, but as soon as anything of the package is
imported, the import system binds the package itself to that name, past every ``__getattr__``. So the package must be what is
called. Giving a module a class with ``__call__`` is what Python documents for that ("Customizing module attribute access", in
the data model); the other way would be to rename the packages that users import from.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from edgeopt.extras import missing_extra


class _CallablePackage(ModuleType):
    """A package that is called like the function of its own name in it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def offer(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of `package`; a package that offers its own name can be called, too.

    Args:
        package: its name.
        homes: name → its module (below the package, or absolute), "" for a package below it.
    """
    if package.rpartition(".")[2] in homes:
        sys.modules[package].__class__ = _CallablePackage

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        home = homes[name]
        module = home if home.startswith("edgeopt.") else f"{package}.{home or name}"
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            raise missing_extra(error) or error from error
        return getattr(found, name) if home else found

    return find
