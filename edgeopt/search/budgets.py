"""Budgets of a search: what a candidate must keep, by figures that every trial measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

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
    for budget in budgets:
        if budget.metric != "accuracy_drop" and _is_upper(budget) and budget.limit <= 0:
            raise RecipeError(f"budget '{budget.expression}': times and sizes are positive; give a limit above 0")
    _check_pairs(budgets)
    return budgets


def _is_upper(budget: Budget) -> bool:
    return budget.sign in {"<", "<="}


def _check_pairs(budgets: Sequence[Budget]) -> None:
    """Refuse a lower and an upper limit of the same figure that leave nothing between them.

    Sizes count in bytes whatever their unit, and a higher quantile of the time is at least as long as a lower one.
    """
    for lower, upper in product(budgets, budgets):
        if _is_upper(lower) or not _is_upper(upper) or _figure(lower) != _figure(upper):
            continue
        if (lower.quantile or 0) > (upper.quantile or 0):
            continue
        low, high = (one.limit * _BYTES.get(one.metric, 1.0) for one in (lower, upper))
        if low > high or (low == high and ">" in (lower.sign, upper.sign)) or (low == high and upper.sign == "<"):
            raise RecipeError(f"budgets contradict each other: '{lower.expression}' and '{upper.expression}'")


def _figure(budget: Budget) -> str:
    return "size" if budget.metric in _BYTES else "ms" if budget.quantile is not None else budget.metric


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
