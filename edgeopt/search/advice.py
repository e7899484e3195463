"""What would have to give where no candidate keeps all budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgeopt.search.budgets import value_of
from edgeopt.verdict.budget import Budget


def advice(budgets: Sequence[Budget], seen: Sequence[Mapping[str, float]]) -> str:
    """Return one line: budgets out of reach with the best there is, or by how much one would have to give.

    Args:
        budgets: that no candidate keeps together.
        seen: figures of the candidates.
    """
    if not seen:
        return "No candidate was measured in the time; give more --time."
    parts = list(_alone(budgets, seen)) or list(_together(budgets, seen))
    return f"No candidate keeps all budgets: {'; '.join(parts) or 'no two of them are kept together'}."


def _alone(budgets: Sequence[Budget], seen: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Yield, for budgets that no candidate keeps, the best value there is."""
    for budget in budgets:
        values = [value for figures in seen if (value := value_of(budget, figures)) is not None]
        if values and not any(budget.holds(value) for value in values):
            yield f"{budget.expression} is out of reach, the best is {_best(budget, values):.4g}"


def _together(budgets: Sequence[Budget], seen: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Yield, for each budget, the best value among candidates that keep all others."""
    for budget in budgets:
        others = [other for other in budgets if other is not budget]
        values = [value for figures in seen if _kept(others, figures) and (value := value_of(budget, figures)) is not None]
        if values:
            yield f"{budget.expression} would have to give way to {_best(budget, values):.4g} where the others are kept"


def _kept(budgets: Sequence[Budget], figures: Mapping[str, float]) -> bool:
    values = [(budget, value_of(budget, figures)) for budget in budgets]
    return all(value is not None and budget.holds(value) for budget, value in values)


def _best(budget: Budget, values: Sequence[float]) -> float:
    return min(values) if budget.sign in {"<", "<="} else max(values)


def beyond(budget: Budget, figures: Mapping[str, float]) -> float:
    """Return by how much, as a share of its limit, a figure is beyond a budget; negative: within it."""
    value = value_of(budget, figures)
    if value is None:
        return 0.0
    share = (value - budget.limit) / max(abs(budget.limit), 1e-9)
    return share if budget.sign in {"<", "<="} else -share
