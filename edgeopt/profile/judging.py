"""What a profile is asked: its budgets, and its comparisons with the baseline; when sampling may stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeopt.profile.analysis import Counted, count
from edgeopt.profile.comparing import FEWEST_ROUNDS, Comparer
from edgeopt.profile.measurement import Sampled
from edgeopt.profile.result import Comparison, MachineLoad
from edgeopt.verdict.findings import Judgement
from edgeopt.verdict.sequential import BudgetJudge, Figures


@dataclass
class Judge:
    """Answers the questions of a profile while samples come in; both answerers know the same variants."""

    budgets: BudgetJudge
    comparer: Comparer

    def leave_out(self, failed: Mapping[str, str]) -> None:
        """Answer nothing about variants that do not run (name → reason): their budgets are undecided, none is compared."""
        self.budgets.leave_out(failed)
        self.comparer.leave_out(failed)

    def enough(self, sampled: Sampled) -> bool:
        """Say whether every latency budget is decided, and every comparison if that was asked for; False: nothing was asked."""
        questions = [self._budgets_decided(sampled)] if self.budgets.timed else []
        if self.comparer.asked:
            questions.append(self.comparer.decided(sampled))
        return bool(questions) and all(questions)

    def _budgets_decided(self, sampled: Sampled) -> bool:
        """Look each time the runs have doubled."""
        if self.budgets.due(sampled.runs, fewest=self.comparer.config.min_runs) and sampled.rounds >= FEWEST_ROUNDS:
            self.budgets.look(count(sampled).samples)
        return self.budgets.decided

    def compare(self, counted: Counted, conditions: MachineLoad) -> tuple[list[Comparison], float]:
        """Return the final comparisons, and how far from 1 a ratio had to be to count."""
        return self.comparer.compare(counted, conditions)

    def judgements(self, counted: Counted, figures: Mapping[str, Figures]) -> list[Judgement]:
        """Return the final verdicts; `figures` are the variants' figures that are no quantile."""
        return self.budgets.judgements(counted.samples, figures)

    def unmeasured(self, figures: Mapping[str, Figures], reason: str) -> list[Judgement]:
        """Return the verdicts where no time was measured, for `reason`."""
        return self.budgets.unmeasured(figures, reason)
