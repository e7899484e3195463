from __future__ import annotations

from edgeopt.search.advice import advice, beyond
from edgeopt.search.budgets import read_budgets


def test_a_budget_out_of_reach_is_named_with_the_best_there_is() -> None:
    budgets = read_budgets(["p50_ms<=1", "size_mb<=5"])
    seen = [{"p50_ms": 2.0, "size_bytes": 4e6}, {"p50_ms": 1.5, "size_bytes": 6e6}]
    assert advice(budgets, seen) == "No candidate keeps all budgets: p50_ms<=1 is out of reach, the best is 1.5."


def test_budgets_that_are_kept_one_by_one_say_what_each_would_have_to_give() -> None:
    budgets = read_budgets(["p50_ms<=1", "size_mb<=5"])
    seen = [{"p50_ms": 2.0, "size_bytes": 4e6}, {"p50_ms": 0.5, "size_bytes": 6e6}]
    assert advice(budgets, seen) == (
        "No candidate keeps all budgets: p50_ms<=1 would have to give way to 2 where the others are kept; "
        "size_mb<=5 would have to give way to 6 where the others are kept."
    )


def test_no_candidate_at_all_needs_more_time() -> None:
    assert "give more --time" in advice([], [])


def test_beyond_is_a_share_of_the_limit() -> None:
    (budget,) = read_budgets(["p50_ms<=2"])
    assert beyond(budget, {"p50_ms": 3.0}) == 0.5 and beyond(budget, {"p50_ms": 1.0}) == -0.5 and beyond(budget, {}) == 0.0
