"""The verdict on figures then and now."""

from __future__ import annotations

import pytest

from edgeopt.verdict.changes import Change, Finding, Regressions


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        (["same", "improvement"], "pass"),
        (["same", "undecided"], "undecided"),
        (["undecided", "regression"], "fail"),
        ([], "pass"),
    ],
)
def test_the_gravest_finding_decides(findings: list[Finding], verdict: str) -> None:
    found = Regressions.of(0.05, [Change("int8", "p50_ms", 1.0, 2.0, finding, "") for finding in findings], ["a note"])
    assert (found.verdict, len(found.changes), found.notes) == (verdict, len(findings), ["a note"])
