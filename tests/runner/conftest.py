"""The runner as a module, loaded by its path as a device would."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from edgeopt._folders import shipped


@pytest.fixture(scope="session")
def measure() -> ModuleType:
    path = shipped("deploy") / "runner" / "measure.py"
    spec = importlib.util.spec_from_file_location("edgeopt_measure_under_test", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
