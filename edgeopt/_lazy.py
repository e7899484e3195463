"""Packages that import what they offer when it is first used, and stages that can be called by their package's name.

``edgeopt.quantize`` is a package, and users call ``edgeopt.quantize(model, …)``: calling the package calls the function of the
same name inside it. Both readings of the name are the same object, whatever was imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    _homes: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if self._homes.get(name) == "":
            return import_module(f"{self.__name__}.{name}")
        if name not in self._homes:
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        home = self._homes[name]
        return getattr(import_module(home if home.startswith("edgeopt.") else f"{self.__name__}.{home}"), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = self.__name__.rpartition(".")[2]
        if function not in self._homes:
            raise TypeError(f"module '{self.__name__}' is not callable")
        return getattr(self, function)(*args, **kwargs)


def offer(package: str, homes: Mapping[str, str]) -> None:
    """Let `package` offer names imported at first use.

    Args:
        package: its name.
        homes: name → its module (below the package, or absolute), "" for a callable package.
    """
    module = sys.modules[package]
    module.__class__ = _LazyPackage
    module._homes = homes  # type: ignore[attr-defined]
