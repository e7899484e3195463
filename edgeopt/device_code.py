"""Code that bundles carry to the device (``deploy/runner/inference``), loaded by its path: the same files run everywhere."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from edgeopt._folders import shipped
from edgeopt.errors import InternalError

_PACKAGE = "edgeopt._inference"


def inference_folder() -> Path:
    """Return the folder of the package `inference`, which is copied into bundles."""
    return shipped("deploy") / "runner" / "inference"


@functools.cache
def inference(name: str) -> ModuleType:
    """Return a module of the package `inference`, such as "decoding" or "images".

    Raises:
        InternalError: it is missing from this installation.
    """
    folder = inference_folder()
    if _PACKAGE not in sys.modules:
        place = folder / "__init__.py"
        spec = importlib.util.spec_from_file_location(_PACKAGE, place, submodule_search_locations=[str(folder)])
        if spec is None or spec.loader is None or not place.is_file():
            raise InternalError(f"{folder}: the code of bundles is missing from this installation; install edgeopt again")
        package = importlib.util.module_from_spec(spec)
        sys.modules[_PACKAGE] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{_PACKAGE}.{name}")
