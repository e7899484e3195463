"""The reference pages: every option class is on one of them, with its bounds, default and meaning."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import Field

import edgeopt
from edgeopt.config import Options
from tools.reference_options import options_page, tables
from tools.reference_python import python_page
from tools.write_reference import FOLDER, TOP_TABLES

ROOT = Path(__file__).resolve().parents[2]


class Inner(Options):
    """Inside."""

    size: int = Field(default=8, ge=1, le=9)
    """How large."""


class Outer(Options):
    """Outside."""

    kind: str
    """Which | one."""
    share: float | None = Field(default=None, gt=0)
    """How much; none: all."""
    inner: Inner = Inner()
    more: Inner = Inner(size=3)
    """Another one."""


def test_a_page_lists_every_key_with_type_default_and_meaning() -> None:
    page = options_page("Title", "About.", Outer)
    assert "| `kind` | text | required | Which \\| one. |" in page
    assert "| `share` | number > 0 or none | none | How much; none: all. |" in page
    assert "| `inner` | table | its defaults | Inside. |" in page
    assert "## `[inner]`" in page
    assert "| `size` | integer ≥ 1, ≤ 9 | `8` | How large. |" in page
    assert page.count("How large.") == 1
    assert "The keys of `[inner]`." in page


def test_every_option_class_of_the_package_is_listed() -> None:
    listed = {kind.__name__ for _, _, root in TOP_TABLES.values() for _, kind in tables(root)}
    declared = {
        node.name
        for path in (ROOT / "edgeopt").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id == "Options" for base in node.bases)
    }
    assert declared - listed == set()


def test_every_option_is_documented() -> None:
    silent = {
        f"{kind.__name__}.{name}"
        for _, _, root in TOP_TABLES.values()
        for _, kind in tables(root)
        for name, field in kind.model_fields.items()
        if not field.description and "table" not in options_page("", "", kind).split(f"`{name}` | ", 1)[1].split("|", 1)[0]
    }
    assert silent == set()


@pytest.mark.parametrize("name", sorted(set(edgeopt.__all__) - {"__version__"}))
def test_the_python_page_lists_every_public_name(name: str) -> None:
    assert f"### `edgeopt.{name}`" in (FOLDER / "python.md").read_text(encoding="utf-8")


def test_the_python_page_shows_arguments_errors_and_results() -> None:
    page = python_page()
    assert "config: QuantizeConfig = QuantizeConfig()" in page
    assert "**Raises**" in page
    assert "### `ExportResult`" in page
