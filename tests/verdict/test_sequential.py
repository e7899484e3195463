"""Budgets judged while samples come in: looks become rarer, decisions stay, wrong ones are as rare as allowed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeopt.errors import RecipeError
from edgeopt.verdict.accuracy_drop import AccuracyDrop
from edgeopt.verdict.budget import Budget
from edgeopt.verdict.findings import Judgement
from edgeopt.verdict.sequential import BudgetJudge, overall

FAST, SLOW = np.full(400, 1.0), np.full(400, 9.0)


def judge(*expressions: str, **more: object) -> BudgetJudge:
    return BudgetJudge([Budget.parse(text) for text in expressions], ["fp32", "int8"], **more)  # type: ignore[arg-type]


def test_a_look_is_due_each_time_the_runs_have_doubled() -> None:
    judged = judge("p50_ms<=5")
    due = []
    for runs in range(1, 400):
        if judged.due(runs, fewest=50):
            due.append(runs)
            judged.look(lambda name: np.array([]))
    assert due == [50, 100, 200]


def test_a_variant_that_does_not_run_leaves_its_own_budgets_undecided() -> None:
    judged = judge("fp32:p50_ms<=5", "int8:p50_ms<=5")
    judged.leave_out({"int8": "no kernel"})
    looked = []
    found = judged.judgements(lambda name: looked.append(name) or FAST, {"fp32": {}, "int8": {}})  # type: ignore[func-returns-value]
    assert looked == ["fp32"]
    assert [(one.variant, one.verdict) for one in found] == [("fp32", "pass"), ("int8", "undecided")]
    assert found[1].reason == "it does not run on this target: no kernel"


def test_what_was_decided_stays_whatever_comes_after() -> None:
    judged = judge("p50_ms<=5")
    assert judged.timed
    assert not judged.decided
    judged.look(lambda name: FAST)
    assert judged.decided
    (verdict,) = judged.judgements(lambda name: SLOW, {"int8": {}})
    assert (verdict.variant, verdict.verdict) == ("int8", "pass")


def test_figures_and_drops_are_judged_at_the_end() -> None:
    judged = judge("size_mb<=1", "accuracy_drop<=1", drops={"int8": AccuracyDrop(100, 5, 0)})
    assert not judged.timed
    assert judged.decided
    found = judged.judgements(lambda name: FAST, {"int8": {"size_bytes": [900_000.0]}})
    assert [item.verdict for item in found] == ["pass", "fail"]
    assert overall(found) == "fail"


def test_where_no_time_is_measured_latency_is_undecided_with_the_reason() -> None:
    found = judge("p50_ms<=5", "size_mb<=1").unmeasured({"int8": {"size_bytes": [2e6]}}, "an emulator's times mean nothing")
    assert (found[0].verdict, found[0].reason) == ("undecided", "an emulator's times mean nothing")
    assert found[1].verdict == "fail"


def test_a_budget_on_a_variant_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"no variant 'int9'.*did you mean 'int8'"):
        judge("int9: p50_ms<=5")


def passed_wrongly(samples: NDArray[np.float64]) -> bool:
    judged = judge("p50_ms<=1.65 @90%")
    for runs in (100, 200, 400, 800):
        judged.look({"int8": samples[:runs]}.__getitem__)
    (verdict,) = judged.judgements(lambda name: samples, {"int8": {}})
    return verdict.verdict == "pass"


def test_a_true_median_beyond_the_limit_is_rarely_passed_at_any_look() -> None:
    draws = (np.random.default_rng(seed).exponential(1.0, 1600) + 1.0 for seed in range(200))  # median 1.693
    wrong = sum(map(passed_wrongly, draws))
    assert wrong <= 20, f"{wrong} of 200 passed wrongly, 10 % are allowed"


@pytest.mark.parametrize(
    ("states", "whole"),
    [("", "pass"), ("pass", "pass"), ("pass undecided", "undecided"), ("undecided fail", "fail"), ("pass fail", "fail")],
)
def test_the_gravest_judgement_is_the_whole_one(states: str, whole: str) -> None:
    assert overall([Judgement("b", "v", state, None, "") for state in states.split()]) == whole  # type: ignore[arg-type]
