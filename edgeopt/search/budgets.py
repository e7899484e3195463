"""Budgets of a search: what a candidate must keep, by figures that every trial measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from edgeopt.errors import RecipeError
from edgeopt.verdict.budget import Budget

FIGURES = ("p50_ms", "p95_ms", "size_bytes", "size_kb", "size_mb", "accuracy_drop")
_BYTES = {"size_bytes": 1.0, "size_kb": 1e3, "size_mb": 1e6}
Figures = Mapping[str, float]
"""p50_ms, p95_ms, size_bytes, accuracy_drop (points below the first model)."""


def read_budgets(expressions: Sequence[str]) -> tuple[Budget, ...]:
    """Return the budgets.

    Raises:
        RecipeError: one is not understood, is about something a search does not measure, or two contradict each other.
    """
    budgets = tuple(Budget.parse(text) for text in expressions)
    for budget in budgets:
        if budget.metric not in FIGURES:
            raise RecipeError(f"budget '{budget.expression}': a search measures {', '.join(FIGURES)} alone")
        if budget.variant is not None or budget.target is not None:
            raise RecipeError(
                f"budget '{budget.expression}': in a search every budget is for the final model; leave the name out"
            )
    for metric, group in groupby(sorted(budgets, key=lambda budget: budget.metric), key=lambda budget: budget.metric):
        same = list(group)
        highest = min((b.limit for b in same if b.sign in {"<", "<="}), default=float("inf"))
        lowest = max((b.limit for b in same if b.sign in {">", ">="}), default=float("-inf"))
        if lowest > highest:
            raise RecipeError(f"budgets contradict each other: {metric} cannot be both ≥ {lowest:g} and ≤ {highest:g}")
    return budgets


def value_of(budget: Budget, figures: Figures) -> float | None:
    """Return the figure that a budget is about, in its unit; None: it was not measured."""
    if budget.metric in _BYTES:
        found = figures.get("size_bytes")
        return None if found is None else found / _BYTES[budget.metric]
    return figures.get(budget.metric)


def missed(budgets: Sequence[Budget], figures: Figures, *, tolerance: float = 0.0) -> list[str]:
    """Return what is missed, in words: the budget and what was measured. Budgets on what is not measured yet do not count.

    `tolerance`: the share by which a time may be worse than its limit.
    """
    found = []
    for budget in budgets:
        value = value_of(budget, figures)
        if value is None:
            continue
        room = 1 + tolerance if budget.metric.endswith("_ms") and budget.sign in {"<", "<="} else 1.0
        if not budget.holds(value / room):
            found.append(f"{budget.expression} (it is {value:.4g})")
    return found
