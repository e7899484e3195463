"""`search`: rounds of candidates, each taken as far as it earns, and the front of what was trained in full.

    propose → untrained (time, size) → within budgets? → short training → on the front? → full training → measured alone

Everything shared is computed once: all candidates keep their artifacts in one content-addressed store, so the teacher is
trained once and a candidate's later rung finds what its earlier ones made. A search that is run again resumes where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeopt import progress
from edgeopt.errors import InternalError, MachineError, RecipeError
from edgeopt.files import write_aside
from edgeopt.recipe import Recipe
from edgeopt.search.budgets import missed, read_budgets, value_of
from edgeopt.search.front import Front, Point, dominates, front_of, write_front
from edgeopt.search.knobs import knobs_of
from edgeopt.search.ray_workers import RayWorkers
from edgeopt.search.rounds import Rung, is_trained, recipe_at
from edgeopt.search.study import Candidate, Study
from edgeopt.search.trial import Spec, TrialResult
from edgeopt.search.workers import Task, Workers
from edgeopt.verdict.budget import Budget

_EXPLORE_SHARE = 0.7
"""Of the time: the rest is for training in full and measuring what was found."""
_FAILURES = 3
"""In a row, before any candidate was measured: then it is not the candidates."""


@dataclass(frozen=True)
class SearchRequest:
    """What to search, under which budgets, for how long and where."""

    recipe: Recipe
    folder: Path
    budgets: tuple[str, ...] = ()
    seconds: float = 3600.0
    workers: int = 1
    storage: str | None = None
    ray: str | None = None
    """Address of a Ray cluster whose machines share the folder; none: this machine."""
    targets: tuple[str, ...] = ()
    """Several targets that one model is for; none: the recipe's."""


@dataclass
class _Tried:
    """What is known of a candidate."""

    candidate: Candidate
    results: dict[Rung, TrialResult] = field(default_factory=dict)
    targets: dict[Rung, dict[str, TrialResult]] = field(default_factory=dict)


def search(request: SearchRequest) -> Front:
    """Search, write `front.json` and `front.html` into the folder, and return the front.

    Raises:
        RecipeError: the recipe has nothing to vary, a knob does not exist in it, or budgets contradict each other.
        MachineError: the storage cannot be reached, the disk is full, or no candidate could be measured.
    """
    return _Search(request).run()


class _Search:
    def __init__(self, request: SearchRequest) -> None:
        self._request, self._recipe = request, request.recipe
        self._options = request.recipe.search
        self._budgets: tuple[Budget, ...] = read_budgets(request.budgets)
        if request.recipe.profile is False and any(budget.metric.endswith("_ms") for budget in self._budgets):
            raise RecipeError("profile = false: the recipe measures no time; leave budgets on time out")
        self._targets = request.targets or (request.recipe.target,)
        self._began = time.monotonic()
        self._workers = self._until(request.seconds)
        self._explorers = self._until(_EXPLORE_SHARE * request.seconds)
        self._study = Study(knobs_of(request.recipe), request.storage, request.folder, seed=request.recipe.seed)
        self._tried: dict[int, _Tried] = {}
        self._failed: dict[str, str] = {}
        self._unfinished: set[str] = set()

    def _until(self, seconds: float) -> Workers | RayWorkers:
        """Return workers that end this many seconds after the beginning."""
        request = self._request
        if request.ray is not None:
            return RayWorkers(request.ray, request.workers, self._began + seconds)
        return Workers(request.workers, self._began + seconds)

    def run(self) -> Front:
        with progress.task("search", total=self._options.rounds) as advance:
            for number in range(self._options.rounds):
                proposed = self._study.propose(self._options.candidates)
                if not proposed or self._explorers.seconds_left <= 0:
                    break
                self._explore(number, [self._tried.setdefault(item.number, _Tried(item)) for item in proposed])
                advance()
        chosen = self._chosen()
        self._take(chosen, Rung.FULL, self._workers)
        finished = [item for item in chosen if Rung.FULL in item.results]
        for item in self._best(finished, Rung.FULL) if finished else []:
            self._take([item], Rung.FINAL, self._workers)
        front = self._front(finished)
        write_front(front, self._request.folder)
        return front

    # rounds

    def _explore(self, number: int, items: list[_Tried]) -> None:
        """Measure a round's candidates untrained, and train those that can keep the budgets for a while."""
        self._take(items, Rung.UNTRAINED, self._explorers)
        measured = [item for item in items if Rung.UNTRAINED in item.results]
        fitting = [item for item in measured if not self._misses(item, Rung.UNTRAINED)]
        progress.note(f"round {number + 1}: {len(fitting)} of {len(measured)} candidates can keep the budgets")
        for item in measured:
            if item not in fitting:
                self._report(item, Rung.UNTRAINED)
        if is_trained(self._recipe):
            self._take(fitting, Rung.SHORT, self._explorers)
        for item in fitting:
            self._report(item, Rung.SHORT if Rung.SHORT in item.results else Rung.UNTRAINED)

    def _take(self, items: Sequence[_Tried], rung: Rung, workers: Workers | RayWorkers) -> None:
        """Run candidates at a rung, on every target; a candidate that fails on one has failed."""
        places = [(item, target) for item in items for target in self._targets]
        tasks = [self._task(item.candidate, rung, target) for item, target in places]
        with progress.task(f"candidates, {rung}", total=len(tasks)) as advance:
            for place, result in workers.run(tasks):
                item, target = places[place]
                advance()
                if result.unfinished:
                    self._unfinished.add(item.candidate.name)
                    continue
                if result.error:
                    self._note_failure(item.candidate, rung, result)
                    continue
                item.targets.setdefault(rung, {})[target] = result
                if len(item.targets[rung]) == len(self._targets):
                    item.results[rung] = _worst(list(item.targets[rung].values()))

    def _task(self, candidate: Candidate, rung: Rung, target: str) -> Task:
        recipe = recipe_at(self._recipe, candidate.setting, rung, target=target)
        folder = self._folder(candidate, target, rung)
        spec = Spec(recipe.model_dump(mode="json"), str(folder), str(self._request.folder / "store"))
        return Task(folder, spec)

    def _folder(self, candidate: Candidate, target: str, rung: Rung) -> Path:
        name = candidate.name if len(self._targets) == 1 else f"{candidate.name}-{target}"
        return self._request.folder / "candidates" / name / rung

    def _note_failure(self, candidate: Candidate, rung: Rung, result: TrialResult) -> None:
        if result.fatal:
            raise MachineError(f"{candidate.name}, {rung}: {result.error}")
        self._failed[candidate.name] = f"{rung}: {result.error}"
        progress.note(f"{candidate.name}: {result.error}")
        if len(self._failed) >= _FAILURES and not any(item.results for item in self._tried.values()):
            raise MachineError(f"the first {_FAILURES} candidates failed, the last with: {result.error}")
        if self._workers.seconds_left > 0:
            self._study.fail(candidate, result.error)

    def _misses(self, item: _Tried, rung: Rung) -> list[str]:
        """Return the budgets that a candidate misses; before training the metric does not count, and times have some room."""
        figures = dict(item.results[rung].figures)
        early = rung in {Rung.UNTRAINED, Rung.SHORT}
        if early:
            figures.pop("accuracy_drop", None)
        return missed(self._budgets, figures, tolerance=self._options.tolerance if early else 0.0)

    def _report(self, item: _Tried, rung: Rung) -> None:
        result = item.results[rung]
        if result.metric is None:
            raise InternalError("a candidate without a metric")
        over = max((_beyond(budget, result.figures) for budget in self._budgets), default=0.0)
        self._study.report(item.candidate, result.metric, result.figures, over)

    # what is best

    def _chosen(self) -> list[_Tried]:
        """Return the candidates to train in full: those on the front so far, best metric first."""
        rung = Rung.SHORT if any(Rung.SHORT in item.results for item in self._tried.values()) else Rung.UNTRAINED
        known = [item for item in self._tried.values() if rung in item.results]
        if not known:
            known, rung = [item for item in self._tried.values() if Rung.UNTRAINED in item.results], Rung.UNTRAINED
        fitting = [item for item in known if not self._misses(item, rung)]
        return self._best(fitting or known, rung)[: self._options.keep]

    def _best(self, items: Sequence[_Tried], rung: Rung) -> list[_Tried]:
        points = {item.candidate.number: self._point(item, rung) for item in items}
        kept = [item for item in items if not any(dominates(other, points[item.candidate.number]) for other in points.values())]
        return sorted(kept, key=lambda item: -points[item.candidate.number].metric)

    def _front(self, finished: Sequence[_Tried]) -> Front:
        points = [self._point(item, Rung.FINAL if Rung.FINAL in item.results else Rung.FULL) for item in finished]
        keeping = [point for point in points if not point.missed]
        for item in finished:
            self._write_recipe(item)
        best = next((item for item in finished), None)
        name = next(iter(best.results.values())).metric_name if best else "metric"
        return Front(
            name,
            front_of(keeping or points),
            tuple(self._request.budgets),
            bool(keeping) or not self._budgets,
            "" if keeping or not self._budgets else self._advice(points),
            len(self._tried),
            len(finished),
            round(time.monotonic() - self._began, 1),
            self._failed,
            tuple(sorted(self._unfinished)),
        )

    def _point(self, item: _Tried, rung: Rung) -> Point:
        result, first = item.results[rung], item.results.get(Rung.UNTRAINED)
        short = item.results.get(Rung.SHORT)
        name, target = item.candidate.name, self._targets[0]
        folder = self._folder(item.candidate, target, rung).relative_to(self._request.folder)
        return Point(
            name=name,
            metric=result.metric if result.metric is not None else 0.0,
            p50_ms=result.figures.get("p50_ms"),
            p95_ms=result.figures.get("p95_ms"),
            size_bytes=result.figures.get("size_bytes"),
            accuracy_drop=result.figures.get("accuracy_drop"),
            recipe=f"recipes/{name}.toml",
            bundle=f"{folder}/bundle",
            setting=dict(item.candidate.setting),
            predicted_ms=first.figures.get("p50_ms") if first else None,
            predicted_metric=short.metric if short else None,
            missed=tuple(missed(self._budgets, result.figures)),
            targets={name: dict(found.figures) for name, found in item.targets.get(rung, {}).items()}
            if len(self._targets) > 1
            else {},
        )

    def _write_recipe(self, item: _Tried) -> None:
        """Write the recipe that makes a candidate again with `edgeopt run`."""
        path = self._request.folder / "recipes" / f"{item.candidate.name}.toml"
        recipe = recipe_at(self._recipe, item.candidate.setting, Rung.FINAL)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(path) as aside:
            aside.write_text(recipe.to_toml(), encoding="utf-8")

    def _advice(self, points: Sequence[Point]) -> str:
        """Return what would have to give: for each budget the best value that any candidate reaches."""
        seen = [dict(result.figures) for item in self._tried.values() for result in item.results.values()]
        if not seen:
            return "No candidate was measured in the time; give more --time."
        parts = list(_reachable(self._budgets, seen))
        together = "no candidate keeps them all together" if not parts else "; ".join(parts)
        ended = "" if points else " No candidate was trained in full in the time."
        return f"No candidate keeps all budgets: {together}.{ended}"


def _reachable(budgets: Sequence[Budget], seen: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Yield, for budgets that no candidate keeps, the best value there is."""
    for budget in budgets:
        values = [value for figures in seen if (value := value_of(budget, figures)) is not None]
        if values and not any(budget.holds(value) for value in values):
            best = min(values) if budget.sign in {"<", "<="} else max(values)
            yield f"{budget.expression} is out of reach, the best is {best:.4g}"


def _beyond(budget: Budget, figures: Mapping[str, float]) -> float:
    """Return by how much, as a share of its limit, a figure is beyond a budget; negative: within it."""
    value = value_of(budget, figures)
    if value is None:
        return 0.0
    share = (value - budget.limit) / max(abs(budget.limit), 1e-9)
    return share if budget.sign in {"<", "<="} else -share


def _worst(results: Sequence[TrialResult]) -> TrialResult:
    """Return the results of one model on several targets as one: the slowest time, the largest size, the lowest metric."""
    figures: dict[str, float] = {}
    for result in results:
        for name, value in result.figures.items():
            figures[name] = max(value, figures.get(name, value))
    metrics = [result.metric for result in results if result.metric is not None]
    return TrialResult(figures, min(metrics) if metrics else None, results[0].metric_name)
