"""Lazy packages: names come at first use, wrong ones are named, and a callable package calls its function."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

import edgeopt
from edgeopt._lazy import offer
from edgeopt.errors import MachineError


def test_a_name_comes_from_its_module() -> None:
    find = offer("edgeopt.quantize", {"QuantizeConfig": "config", "Budget": "edgeopt.verdict.budget"})
    assert find("QuantizeConfig").__module__ == "edgeopt.quantize.config"
    assert find("Budget").__module__ == "edgeopt.verdict.budget"
    assert offer("edgeopt", {"verdict": ""})("verdict").__name__ == "edgeopt.verdict"


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'edgeopt\.quantize' has no attribute 'quantise'"):
        edgeopt.quantize.quantise  # type: ignore[attr-defined]  # noqa: B018


def test_a_package_without_its_own_name_cannot_be_called() -> None:
    package = importlib.import_module("edgeopt.bundle")
    with pytest.raises(TypeError, match="not callable"):
        package()  # type: ignore[operator]


def test_calling_a_package_calls_the_function_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("edgeopt.made_up")
    monkeypatch.setitem(sys.modules, "edgeopt.made_up", package)
    find = offer("edgeopt.made_up", {"made_up": "edgeopt.escaping"})
    package.__getattr__ = find  # type: ignore[method-assign]
    monkeypatch.setattr("edgeopt.escaping.made_up", lambda first, *, second: (first, second), raising=False)
    assert package(1, second=2) == (1, 2)  # type: ignore[operator]


def test_what_an_extra_brings_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jinja2", "edgeopt.report.html"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "edgeopt.report.html")
    with pytest.raises(MachineError, match=r"edgeopt\[report\]"):
        offer("edgeopt.report", {"to_html": "html"})("to_html")
