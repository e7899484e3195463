"""When sampling may stop: budgets and comparisons that were asked for are decided."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeopt.profile.judging import Judge


def judge(*, timed: bool, budgets: bool, asked: bool, compared: bool) -> Judge:
    config = SimpleNamespace(min_runs=30)
    asks = SimpleNamespace(timed=timed, decided=budgets, due=lambda runs, fewest: False)
    return Judge(asks, SimpleNamespace(asked=asked, config=config, decided=lambda sampled: compared))


@pytest.mark.parametrize(
    ("timed", "budgets", "asked", "compared", "enough"),
    [
        (False, False, False, False, False),  # nothing was asked: run to the time limit
        (True, True, False, False, True),
        (True, False, False, True, False),
        (False, True, True, True, True),
        (True, True, True, False, False),
        (True, True, True, True, True),
    ],
)
def test_all_that_was_asked_must_be_decided(timed, budgets, asked, compared, enough):
    found = judge(timed=timed, budgets=budgets, asked=asked, compared=compared)
    assert found.enough(SimpleNamespace(runs=100, rounds=100)) is enough


def test_variants_that_do_not_run_leave_budgets_and_comparisons():
    left = []
    found = Judge(SimpleNamespace(leave_out=left.append), SimpleNamespace(leave_out=left.append))
    found.leave_out({"int8": "it crashed"})
    assert left == [{"int8": "it crashed"}] * 2
