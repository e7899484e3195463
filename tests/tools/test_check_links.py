"""Links of the documentation: each kind of dead link is found, and live ones are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check_links import anchors, dead_links


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "README.md").write_text("# Start\n", encoding="utf-8")
    (tmp_path / "docs" / "b.md").write_text("# One: two, `three`\n\n```\n# no heading\n```\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[b](b.md)", None),
        ("[b](b.md#one-two-three)", None),
        ("[here](#here)\n\n# Here\n", None),
        ("[far](https://example.org/nothing)", None),
        ("`[code](missing.md)`", None),
        ("[b](missing.md)", "missing.md does not exist"),
        ("![image](images/missing.svg)", "images/missing.svg does not exist"),
        ("[b](b.md#no-heading)", "no heading #no-heading"),
        ("[up](../README.md)", "leads out of docs/"),
    ],
)
def test_dead_links_are_named(root: Path, text: str, found: str | None) -> None:
    page = root / "docs" / "a.md"
    page.write_text(text, encoding="utf-8")
    lines = list(dead_links(page, root))
    assert len(lines) == (0 if found is None else 1)
    assert found is None or found in lines[0]


def test_pages_outside_the_site_may_link_to_everything(root: Path) -> None:
    page = root / "CONTRIBUTING.md"
    page.write_text("[r](README.md#start) [deep](docs/deep)", encoding="utf-8")
    assert list(dead_links(page, root)) == []


def test_anchors_are_those_of_the_site(root: Path) -> None:
    assert anchors(root / "docs" / "b.md") == {"one-two-three"}
