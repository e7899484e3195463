"""Sequential tests: budgets judged while samples come in, at ever rarer looks, with decisions that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgeopt.profile.analysis import Counted, count
from edgeopt.profile.comparing import FEWEST_ROUNDS, Comparer
from edgeopt.profile.measurement import Sampled
from edgeopt.profile.result import Comparison, Conditions
from edgeopt.verdict.accuracy_drop import AccuracyDrop, judge_drop
from edgeopt.verdict.budget import Budget, Judgement, Verdict, figure_name, judge_figures, judge_latency, variants_of

Figures = Mapping[str, Sequence[float] | None]
"""Figures of one variant that are not quantiles, by name: one value per measurement, None if not measured."""


class Judge:
    """Judges budgets for the variants that `comparer` compares; the first one is the baseline.

    Raises:
        RecipeError: a budget names a variant that is not there.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        comparer: Comparer,
        *,
        references: Sequence[str] = (),
        drops: Mapping[str, AccuracyDrop | float] = MappingProxyType({}),
    ) -> None:
        self._comparer = comparer
        self._pairs = [(budget, name) for budget in budgets for name in variants_of(budget, comparer.names, references)]
        self._min_runs = comparer.config.min_runs
        self._drops = drops
        self._looks = 0
        self._decided: dict[tuple[Budget, str], Judgement] = {}

    def enough(self, sampled: Sampled) -> bool:
        """Return whether all latency budgets, and all comparisons if requested, are decided; False: there are none."""
        latency = [(budget, name) for budget, name in self._pairs if budget.quantile is not None]
        questions = [self._budgets_decided(sampled, latency)] if latency else []
        if self._comparer.asked:
            questions.append(self._comparer.decided(sampled))
        return bool(questions) and all(questions)

    def _budgets_decided(self, sampled: Sampled, pairs: Sequence[tuple[Budget, str]]) -> bool:
        """Judge the budgets each time the runs have doubled."""
        if sampled.runs >= self._min_runs * 2**self._looks and sampled.rounds >= FEWEST_ROUNDS:
            self._look(count(sampled))
        return all(pair in self._decided and self._decided[pair].verdict != "undecided" for pair in pairs)

    def compare(self, counted: Counted, conditions: Conditions) -> tuple[list[Comparison], float]:
        """Return the final comparisons, and the margin around 1 beyond which a ratio counted."""
        return self._comparer.compare(counted, conditions)

    def _look(self, counted: Counted) -> None:
        self._looks += 1
        for budget, name in self._pairs:
            before = self._decided.get((budget, name))
            if budget.quantile is not None and (before is None or before.verdict == "undecided"):
                self._decided[budget, name] = judge_latency(budget, name, counted.samples(name), look=self._looks)

    def judgements(self, counted: Counted, figures: Mapping[str, Figures]) -> list[Judgement]:
        """Return the final verdicts; `figures` are the variants' figures that are not quantiles."""
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
