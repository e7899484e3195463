"""Sequential tests: budgets judged while samples come in, at ever rarer looks, with decisions that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from edgeopt.verdict.accuracy_drop import Drop, judge_drop
from edgeopt.verdict.budget import Budget, figure_name, judge_figures, judge_latency, variants_of
from edgeopt.verdict.findings import Judgement, State
from edgeopt.verdict.order_statistics import Samples

Figures = Mapping[str, Sequence[float] | None]
"""Figures of one variant that are not quantiles, by name: one value per measurement, None if not measured."""


class BudgetJudge:
    """Judges `budgets` for the variants `names`; the first one is the baseline, `references` only stand beside.

    Raises:
        RecipeError: a budget names a variant that is not there.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        names: Sequence[str],
        *,
        references: Sequence[str] = (),
        drops: Mapping[str, Drop | float] = MappingProxyType({}),
    ) -> None:
        self._pairs = [(budget, name) for budget in budgets for name in variants_of(budget, names, references)]
        self._drops = drops
        self._looks = 0
        self._decided: dict[tuple[Budget, str], Judgement] = {}
        self._left_out: list[Judgement] = []

    def leave_out(self, failed: Mapping[str, str]) -> None:
        """Judge no variant that does not run (name → reason): budgets about it are undecided."""
        for budget, name in self._pairs:
            if name in failed:
                reason = f"it does not run on this target: {failed[name]}"
                self._left_out.append(Judgement(budget.expression, name, "undecided", None, reason))
        self._pairs = [(budget, name) for budget, name in self._pairs if name not in failed]

    @property
    def timed(self) -> bool:
        """Say whether one of the budgets is about latency."""
        return any(budget.quantile is not None for budget, _ in self._pairs)

    @property
    def decided(self) -> bool:
        """Say whether every latency budget is decided."""
        latency = [pair for pair in self._pairs if pair[0].quantile is not None]
        return all(pair in self._decided and self._decided[pair].verdict != "undecided" for pair in latency)

    def due(self, runs: int, *, fewest: int) -> bool:
        """Say whether `runs` have doubled since the last look; the first one is due after `fewest` runs."""
        return runs >= fewest << self._looks

    def look(self, samples_ms: Callable[[str], Samples]) -> None:
        """Judge the undecided latency budgets by the samples so far, by variant; what was decided stays."""
        self._looks += 1
        for budget, name in self._pairs:
            before = self._decided.get((budget, name))
            if budget.quantile is not None and (before is None or before.verdict == "undecided"):
                self._decided[budget, name] = judge_latency(budget, name, samples_ms(name), look=self._looks)

    def judgements(self, samples_ms: Callable[[str], Samples], figures: Mapping[str, Figures]) -> list[Judgement]:
        """Look for the last time and return all verdicts; `figures` are the variants' figures that are no quantile."""
        self.look(samples_ms)
        return [*(self._judgement(budget, name, figures[name]) for budget, name in self._pairs), *self._left_out]

    def unmeasured(self, figures: Mapping[str, Figures], reason: str) -> list[Judgement]:
        """Return the verdicts where no time was measured, for `reason`."""
        judged = [
            Judgement(budget.expression, name, "undecided", None, reason)
            if budget.quantile is not None
            else self._judgement(budget, name, figures[name])
            for budget, name in self._pairs
        ]
        return [*judged, *self._left_out]

    def _judgement(self, budget: Budget, name: str, figures: Figures) -> Judgement:
        if budget.quantile is not None:
            return self._decided[budget, name]
        if budget.metric == "accuracy_drop":
            return judge_drop(budget, name, self._drops.get(name))
        wanted = figure_name(budget)
        return judge_figures(budget, name, figures.get(wanted), f"{wanted} is not known on this target")


def overall(judgements: Sequence[Judgement]) -> State:
    """Return `fail` if any budget fails, else `undecided` if any is, else `pass`."""
    verdicts = {judgement.verdict for judgement in judgements}
    return "fail" if "fail" in verdicts else "undecided" if "undecided" in verdicts else "pass"
