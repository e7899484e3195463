"""What is known of a candidate: its results by rung and target, and those that an earlier run of the search left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from pydantic import TypeAdapter, ValidationError

from edgeopt.search.rounds import Rung
from edgeopt.search.study import Candidate
from edgeopt.search.trial import Spec, TrialResult, read_result
from edgeopt.search.workers import Task

_TRAINED = (Rung.FULL, Rung.SHORT, Rung.UNTRAINED)


@dataclass
class Tried:
    """A candidate with its results: of each target, and where all targets have one, of the worst of them."""

    candidate: Candidate
    results: dict[Rung, TrialResult] = field(default_factory=dict)
    targets: dict[Rung, dict[str, TrialResult]] = field(default_factory=dict)

    def take(self, rung: Rung, target: str, result: TrialResult, *, of: int) -> None:
        """Note a result; `of`: how many targets there are."""
        self.targets.setdefault(rung, {})[target] = result
        if len(self.targets[rung]) == of:
            self.results[rung] = worst(list(self.targets[rung].values()))

    @property
    def trained(self) -> Rung:
        """How far it was trained."""
        return next(rung for rung in _TRAINED if rung in self.results)

    @property
    def measured(self) -> Rung:
        """The rung whose figures count: the final one, unless it has fewer, as where a busy machine gave no time."""
        final = self.results.get(Rung.FINAL)
        whole = final is not None and final.figures.keys() >= self.results[self.trained].figures.keys()
        return Rung.FINAL if whole else self.trained

    @property
    def best(self) -> TrialResult:
        """The figures that count."""
        return self.results[self.measured]


def worst(results: Sequence[TrialResult]) -> TrialResult:
    """Return the results of one model on several targets as one: the slowest time, the largest size, the worst metric."""
    figures: dict[str, float] = {}
    for result in results:
        for name, value in result.figures.items():
            figures[name] = max(value, figures.get(name, value))
    known = [(result.rank, result) for result in results if result.rank is not None]
    lowest = min(known, key=lambda pair: pair[0])[1] if known else results[0]
    seconds = max(result.seconds for result in results)
    return TrialResult(figures, lowest.metric, lowest.metric_name, merit=lowest.merit, seconds=seconds)


def earlier_result(task: Task) -> TrialResult | None:
    """Return what an earlier run of this very task wrote; None: there is nothing, or it was another task."""
    try:
        spec = TypeAdapter(Spec).validate_json((task.folder / "spec.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return read_result(task.folder / "result.json") if asdict(spec) == asdict(task.spec) else None
