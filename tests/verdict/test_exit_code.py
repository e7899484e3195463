"""What an undecided budget counts as."""

from __future__ import annotations

import pytest

from edgeopt.verdict.exit_code import Undecided, exit_code_of_budgets, exit_code_of_run
from edgeopt.verdict.findings import Finding, Judgement, State


@pytest.mark.parametrize(
    ("verdicts", "counts", "code"),
    [
        (["pass", "undecided"], Undecided.FAIL, 1),
        (["pass", "undecided"], Undecided.PASS, 0),
        (["undecided", "fail"], Undecided.PASS, 1),
        (["pass"], Undecided.FAIL, 0),
        ([], Undecided.FAIL, 0),
    ],
)
def test_budgets(verdicts: list[State], counts: Undecided, code: int) -> None:
    judgements = [Judgement("p95_ms<=1", "int8", verdict, None, "because") for verdict in verdicts]
    assert exit_code_of_budgets(judgements, counts) == code


@pytest.mark.parametrize(
    ("state", "asked", "counts", "code"),
    [
        ("undecided", True, Undecided.FAIL, 1),
        ("undecided", True, Undecided.PASS, 0),
        ("undecided", False, Undecided.FAIL, 0),  # "never worse" is no question here
        ("fail", False, Undecided.PASS, 1),
        ("pass", True, Undecided.FAIL, 0),
    ],
)
def test_findings(state: State, asked: bool, counts: Undecided, code: int) -> None:
    assert exit_code_of_run([Finding(state, "text", "profile", asked=asked)], counts) == code
