"""What edgeopt imports is what it declares: no undeclared import, no unused declaration."""

from __future__ import annotations

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("edgeopt", "exporters", "calibration_data", "deploy")
DEVELOPED = ("tests", "tools")
NOT_DECLARED = {
    "timm": "takes torchvision, whose wheels replace torch by another build; models/timm_model.py says how to install it",
    "engine": "the folder beside a bundle's chat.py: the engine that bundles carry",
    "inference": "the folder beside a bundle's example.py: the code that bundles carry",
}
"""Package → why edgeopt uses it where it is installed and declares it nowhere."""
NOT_IMPORTED = {
    "onnxscript": "torch.onnx.export needs it and does not declare it",
    "plotly": "its JavaScript goes into the report's page",
    "python-multipart": "FastAPI reads uploaded files with it and does not declare it",
    "tensorboard": "accelerate opens it by its name",
    "edgeopt": "extras that bring other extras",
}
"""Distribution → why it is declared though no line imports it."""


def declared() -> dict[str, set[str]]:
    """Return the names of the declared distributions: of the core (""), and of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {name(requirement) for requirement in wanted} for extra, wanted in groups.items()}


def name(requirement: str) -> str:
    plain = "".join(char if char.isalnum() or char in "-_." else " " for char in requirement).split()[0]
    return plain.lower().replace("_", "-").replace(".", "-")


@cache
def imported(*folders: str) -> dict[str, str]:
    """Return the distributions that the sources in `folders` import anywhere, each with a file that does."""
    found: dict[str, str] = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        if {"templates", "project"} <= set(path.parts):
            continue  # a generated project lists its own requirements
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for module in modules:
                top = module.split(".")[0]
                if top not in sys.stdlib_module_names and top not in {*SHIPPED, *DEVELOPED, "benchmarks"}:
                    found.setdefault(distribution(module), str(path.relative_to(ROOT)))
    return found


@cache
def installed() -> dict[str, list[str]]:
    return dict(packages_distributions())


@cache
def distribution(module: str) -> str:
    """Return the distribution that brings `module`; its own name where it is not installed."""
    if module.startswith("google.protobuf"):
        return "protobuf"
    top = module.split(".", maxsplit=1)[0]
    return name(next(iter(installed().get(top, [top]))))


def test_every_import_is_declared() -> None:
    known = set().union(*(names for extra, names in declared().items() if extra != "dev")) | NOT_DECLARED.keys()
    assert {package: file for package, file in imported(*SHIPPED).items() if package not in known} == {}


def test_every_import_of_the_tests_is_declared() -> None:
    known = set().union(*declared().values()) | NOT_DECLARED.keys()
    assert {package: file for package, file in imported(*DEVELOPED).items() if package not in known} == {}


@pytest.mark.parametrize("extra", sorted(set(declared()) - {"dev", "docs"}))
def test_every_declared_distribution_is_imported(extra: str) -> None:
    used = imported(*SHIPPED).keys() | NOT_IMPORTED.keys()
    assert declared()[extra] <= used
