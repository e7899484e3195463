from __future__ import annotations

import pytest

from edgeopt.errors import RecipeError
from edgeopt.search.budgets import missed, read_budgets


def test_what_is_missed_is_said_with_its_value_and_what_is_unknown_does_not_count() -> None:
    budgets = read_budgets(["p95_ms<=5", "size_mb<=10", "accuracy_drop<=1"])
    assert missed(budgets, {"p95_ms": 5.4, "size_bytes": 9e6}) == ["p95_ms<=5 (it is 5.4)"]
    assert missed(budgets, {"p95_ms": 5.4, "size_bytes": 11e6}, tolerance=0.1) == ["size_mb<=10 (it is 11)"]
    assert missed(budgets, {"accuracy_drop": 1.5}) == ["accuracy_drop<=1 (it is 1.5)"]


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        (["p50_ms<=5", "p50_ms>=9"], "contradict each other: 'p50_ms>=9' and 'p50_ms<=5'"),
        (["p50_ms<5", "p50_ms>=5"], "contradict each other"),
        (["p95_ms<=5", "p50_ms>=9"], "contradict each other"),
        (["size_mb<=1", "size_kb>=2000"], "contradict each other"),
        (["p50_ms<=-1"], "times and sizes are positive"),
        (["size_mb<0"], "give a limit above 0"),
        (["peak_rss_mb<=90"], "a search measures p50_ms"),
        (["int8: p50_ms<=5"], "leave the name out"),
        (["p50ms<5"], "unknown metric"),
    ],
)
def test_budgets_that_cannot_be_searched_for_are_refused(expressions: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_budgets(expressions)


@pytest.mark.parametrize("expressions", [["p50_ms<=5", "p50_ms>=5"], ["p50_ms<=5", "p95_ms>=9"], ["accuracy_drop<=-1"]])
def test_budgets_that_leave_something_between_them_are_searched_for(expressions: list[str]) -> None:
    assert len(read_budgets(expressions)) == len(expressions)
