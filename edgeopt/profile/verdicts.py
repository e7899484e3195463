"""Budgets judged while samples come in: looks that become rarer, and decisions that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgeopt.profile.accuracy_drop import AccuracyDrop, judge_drop
from edgeopt.profile.analysis import Counted, count
from edgeopt.profile.budget import Budget, Judgement, Verdict, figure_name, judge_figures, judge_latency, variants_of
from edgeopt.profile.measurement import Sampled

_FEWEST_ROUNDS = 30  # enough for the interval of a ratio

Figures = Mapping[str, Sequence[float] | None]
"""Figures of one variant that are no quantile, by name: one value for each time they were measured, None if they were not."""


class Judge:
    """Judges budgets for variants; the first variant is the baseline.

    Raises:
        RecipeError: a budget names a variant that is not there.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        names: Sequence[str],
        *,
        min_runs: int,
        references: Sequence[str] = (),
        drops: Mapping[str, AccuracyDrop | float] = MappingProxyType({}),
    ) -> None:
        self._drops = drops
        self._pairs = [(budget, name) for budget in budgets for name in variants_of(budget, names, references)]
        self._min_runs = min_runs
        self._looks = 0
        self._decided: dict[tuple[Budget, str], Judgement] = {}

    def enough(self, sampled: Sampled) -> bool:
        """Look at the latency budgets each time the runs have doubled; say whether all of them are decided."""
        latency = [(budget, name) for budget, name in self._pairs if budget.quantile is not None]
        if not latency or sampled.runs < self._min_runs * 2**self._looks or sampled.rounds < _FEWEST_ROUNDS:
            return False
        self._look(count(sampled))
        return all(self._decided[pair].verdict != "undecided" for pair in latency)

    def _look(self, counted: Counted) -> None:
        self._looks += 1
        for budget, name in self._pairs:
            before = self._decided.get((budget, name))
            if budget.quantile is not None and (before is None or before.verdict == "undecided"):
                self._decided[budget, name] = judge_latency(budget, name, counted.samples(name), look=self._looks)

    def judgements(self, counted: Counted, figures: Mapping[str, Figures]) -> list[Judgement]:
        """Return the final verdicts; `figures` are the variants' figures that are no quantile."""
        self._look(counted)
        return [self._judgement(budget, name, figures[name]) for budget, name in self._pairs]

    def unmeasured(self, figures: Mapping[str, Figures], reason: str) -> list[Judgement]:
        """Return the verdicts where no time was measured, for `reason`."""
        return [
            Judgement(budget.expression, name, "undecided", None, reason)
            if budget.quantile is not None
            else self._judgement(budget, name, figures[name])
            for budget, name in self._pairs
        ]

    def _judgement(self, budget: Budget, name: str, figures: Figures) -> Judgement:
        if budget.quantile is not None:
            return self._decided[budget, name]
        if budget.metric == "accuracy_drop":
            return judge_drop(budget, name, self._drops.get(name))
        wanted = figure_name(budget)
        return judge_figures(budget, name, figures.get(wanted), f"{wanted} is not known on this target")


def overall(judgements: Sequence[Judgement]) -> Verdict:
    """Return `fail` if any budget fails, else `undecided` if any is, else `pass`."""
    verdicts = {judgement.verdict for judgement in judgements}
    return "fail" if "fail" in verdicts else "undecided" if "undecided" in verdicts else "pass"
