"""The wordings that must not come back are found, and nothing else is."""

from __future__ import annotations

import pytest

from tools.check_language import findings, searched


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("the grid is computed anew", "again"),
        ("one scale a tensor", "per"),
        ("Tells whether it fits", "return whether"),
        ("some pictures", "image"),
        ("nobody reads it", "no consumer"),
    ],
)
def test_a_wording_is_found_with_its_line_and_what_to_write(line, instead):
    found = list(findings("README.md", f"first\n{line}\n"))
    assert found and all(text.startswith("README.md:2: ") and instead in text for text in found)


@pytest.mark.parametrize("line", ["one file per stage", "a value and its unit", "compared with the baseline", "renewal"])
def test_plain_wordings_are_not(line):
    assert list(findings("README.md", line)) == []


def test_the_log_and_the_list_itself_are_left_out():
    assert searched("README.md")
    assert not searched("docs/log/quantize.md")
    assert not searched("tools/check_language.py")
